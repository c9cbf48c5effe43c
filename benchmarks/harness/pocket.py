"""The pocket tasks as tasks of the lm-evaluation-harness: one YAML and one file of test examples each.

Prompts, lengths of answers and examples are the task's own; generation, filters, metric and standard error are the
harness'. Word problems and one-word answers are judged by the harness' filters and exact match alone; functions as
HumanEval does it, by tests beside the program, with `code_eval`; instructions by our rule for them (`rules`), since no
metric of the harness can read them. The files name absolute paths, which is how the harness finds data, and are
written anew where they are used. `pocket-chat` cannot be exported: its second question is about the model's own first
answer, and the harness writes all prompts before it asks the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import UsageError
from benchmarks.tasks import TASKS, Example, Task, create_task
from benchmarks.tasks.judging import JudgingTask
from benchmarks.tasks.pocket_code import expected, function_name, hidden_lists
from benchmarks.tasks.pocket_math import final_answer

#: Changes whenever the same examples are handed to the harness in another way.
VERSION = 1
#: The number of the marker line, if that is the last line; leading zeros do not make another number.
_MARKER = r"(?:^|\n)[^\S\n]*#### 0*(\d+)\s*$"
_WHOLE = r"(?s)^\s*(.*?)\s*$"


class _Function(str):
    """A reference to a Python function, which the harness' YAML writes with a tag of its own."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


@dataclass(frozen=True, kw_only=True)
class _Format:
    """How a task's examples become rows, and which settings judge them."""

    row: Callable[[Example], dict[str, Any]]
    settings: dict[str, Any]


def _exact(pattern: str, name: str) -> dict[str, Any]:
    return {
        "doc_to_target": "answer",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": name,
                "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}],
            }
        ],
    }


def _math_row(example: Example) -> dict[str, Any]:
    return {"prompt": example.prompt, "answer": str(final_answer(example.completion))}


def _word_row(example: Example) -> dict[str, Any]:
    return {"prompt": example.prompt, "answer": example.completion.strip()}


def _code_row(example: Example) -> dict[str, Any]:
    calls = [(values, expected(example, values)) for values in hidden_lists(example)]
    checks = "\n".join(
        f"    found = candidate({values})\n    assert type(found) is {type(wanted).__name__} and found == {wanted!r}"
        for values, wanted in calls
    )
    name = function_name(example.prompt)
    return {"prompt": example.prompt, "entry_point": name, "test": f"def check(candidate):\n{checks}\n"}


def _instruct_row(example: Example) -> dict[str, Any]:
    return {"prompt": example.prompt, "answer": example.completion}


_CODE = {
    "unsafe_code": True,
    "doc_to_target": "{{test}}\ncheck({{entry_point}})",
    "metric_list": [
        {
            "metric": _Function("benchmarks.harness.code_rules.pass_at_k"),
            "aggregation": "mean",
            "higher_is_better": True,
            "k": [1],
        }
    ],
    "filter_list": [
        {
            "name": "create_test",
            "filter": [
                {"function": "custom", "filter_fn": _Function("benchmarks.harness.code_rules.build_predictions")}
            ],
        }
    ],
}
_INSTRUCT = {
    "doc_to_target": "answer",
    "process_results": _Function("benchmarks.harness.rules.instruct"),
    "metric_list": [{"metric": "strict_accuracy", "aggregation": "mean", "higher_is_better": True}],
}
_FORMATS = {
    "pocket-math": _Format(row=_math_row, settings=_exact(_MARKER, "marker")),
    "pocket-code": _Format(row=_code_row, settings=_CODE),
    "pocket-instruct": _Format(row=_instruct_row, settings=_INSTRUCT),
}


def exportable() -> list[str]:
    """Return the names of the tasks that the harness can run."""
    return [name for name in TASKS if name in _FORMATS or issubclass(TASKS[name], JudgingTask)]


def check_exportable(name: str) -> None:
    """Refuse a task of ours that the harness cannot run.

    Raises:
        UsageError: With the reason.
    """
    if name not in exportable():
        reason = (
            "it asks for pictures, and the harness reads texts"
            if TASKS[name].medium == "picture"
            else "its second question is about the model's own first answer, and the harness writes all prompts before "
            "it asks the first"
        )
        raise UsageError(
            f"{name} cannot be an lm-eval task: {reason}; python -m benchmarks.compare scores it. Tasks of ours that "
            f"can: {', '.join(exportable())}"
        )


def identity(name: str) -> str:
    """Return what determines the exported task: versions and the hash of its examples."""
    task = create_task(name)
    return f"{name} {task.version} {task.fingerprint()} export {VERSION}"


def export(names: Iterable[str], folder: Path) -> list[Path]:
    """Write tasks into a folder for `--include-path`; returns their YAML files.

    Raises:
        UsageError: A task cannot be exported, or the folder cannot be written.
    """
    tasks = [create_task(name) for name in names]
    for task in tasks:
        check_exportable(task.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_export(task, folder.absolute()) for task in tasks]
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; choose another folder") from None


def _export(task: Task, folder: Path) -> Path:
    layout = _FORMATS.get(task.name) or _Format(row=_word_row, settings=_exact(_WHOLE, "word"))
    rows = [{"index": index} | layout.row(example) for index, example in enumerate(task.examples("test"))]
    data = folder / f"{task.name}.jsonl"
    _replace(data, "".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "num_fewshot": 0,
        "generation_kwargs": {"until": [], "max_gen_toks": task.recipe.max_new_tokens, "do_sample": False},
        "metadata": {"version": f"{task.version}.{VERSION}"},
        **layout.settings,
    }
    path = folder / f"{task.name}.yaml"
    _replace(path, yaml.dump(settings, Dumper=_Dumper, sort_keys=False))
    return path


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
