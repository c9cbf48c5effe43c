from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from benchmarks.errors import UsageError
from benchmarks.harness import pocket
from benchmarks.sandbox import SandboxError, check_isolation
from benchmarks.tasks import Example, create_task
from tests.benchmarks.harness.prepared import judged_by_the_harness


def math_answers(examples: Sequence[Example]) -> list[str]:
    number = [example.completion.rsplit("#### ", 1)[1] for example in examples]
    written = [
        lambda i: examples[i].completion,
        lambda i: f"  {examples[i].completion}  \n\n",
        lambda i: examples[i].completion + "\nor so",
        lambda i: f"#### {number[i]}",
        lambda i: f"1+1=2\n  #### 00{number[i]}",
        lambda i: f"#### {number[i]}0",
        lambda i: f"#### 1\n#### {number[i]}",
        lambda i: f"#### {number[i]}\n#### 1",
        lambda i: f"It is #### {number[i]}",
        lambda i: f"####{number[i]}",
        lambda i: f"#### {number[i]}.",
        lambda i: "",
        lambda i: f"#### -{number[i]}",
        lambda i: f"#### {number[i]} {number[i]}",
    ]
    return [written[i % len(written)](i) for i in range(len(examples))]


def code_answers(examples: Sequence[Example]) -> list[str]:
    written = [
        lambda text: text,
        lambda text: text.replace("return ", "result = ") + "\n    return result",
        lambda text: text.replace("return ", "return [") + "]",
        lambda text: text.replace("return ", "return str(") + ")",
        lambda text: "\n    while True: pass",
        lambda text: "\n    import os\n    os._exit(0)",
        lambda text: "\n    return (",
        lambda text: text + "\n\nraise SystemExit",
    ]
    return [written[i % len(written)](example.completion) for i, example in enumerate(examples)]


def instruct_answers(examples: Sequence[Example]) -> list[str]:
    written = [
        lambda i: examples[i].completion,
        lambda i: examples[i].completion.upper(),
        lambda i: examples[i].completion + ".",
        lambda i: examples[i - 1].completion,
        lambda i: "",
    ]
    return [written[i % len(written)](i) for i in range(len(examples))]


ANSWERS = {
    "pocket-math": (56, math_answers),
    "pocket-code": (16, code_answers),
    "pocket-instruct": (40, instruct_answers),
}


@pytest.mark.parametrize("name", list(ANSWERS))
def test_the_harness_judges_every_answer_as_we_do(name: str, tmp_path: Path) -> None:
    if name == "pocket-code":
        try:
            check_isolation()
        except SandboxError as error:
            pytest.skip(str(error))
    count, answers = ANSWERS[name]
    task = create_task(name)
    examples = task.examples("test")[:count]
    texts = answers(examples)
    samples = judged_by_the_harness(name, texts, pocket_folder=tmp_path)
    metric = samples[0]["metrics"][0]
    assert [sample["arguments"][0][0] for sample in samples] == [example.prompt for example in examples]
    wanted = task.scores(examples, texts)
    assert [sample[metric] for sample in samples] == wanted
    assert 0 < sum(wanted) < len(wanted)


def test_one_word_answers_are_judged_as_we_do(tmp_path: Path) -> None:
    task = create_task("pocket-nlu-acceptability")
    examples = task.examples("test")[:12]
    texts = [[e.completion, f" {e.completion}\n", e.completion + " x", ""][i % 4] for i, e in enumerate(examples)]
    samples = judged_by_the_harness(task.name, texts, pocket_folder=tmp_path)
    assert [sample["exact_match"] for sample in samples] == task.scores(examples, texts)


def test_files_are_the_same_every_time_and_hold_the_whole_test_split(tmp_path: Path) -> None:
    first = pocket.export(pocket.exportable(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert pocket.export(pocket.exportable(), tmp_path) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    rows = [json.loads(line) for line in (tmp_path / "pocket-code.jsonl").read_text().splitlines()]
    assert len(rows) == len(create_task("pocket-code").examples("test"))
    text = (tmp_path / "pocket-math.yaml").read_text()
    assert yaml.safe_load(text)["generation_kwargs"]["max_gen_toks"] == create_task("pocket-math").recipe.max_new_tokens
    assert "!function" not in text  # the harness' own filters and metric alone


def test_dialogues_and_pictures_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pocket-chat cannot be an lm-eval task: its second question is about"):
        pocket.export(["pocket-chat"], tmp_path)
    with pytest.raises(UsageError, match="pocket-icons cannot be an lm-eval task: it asks for pictures"):
        pocket.export(["pocket-icons"], tmp_path)
    assert "pocket-chat" not in pocket.exportable()
    assert list(tmp_path.iterdir()) == []


def test_identity_changes_with_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pocket.identity("pocket-math")
    monkeypatch.setattr(pocket, "VERSION", pocket.VERSION + 1)
    assert pocket.identity("pocket-math") != before
