"""Scores a model on a loaded task with `lm_eval`, and makes of its answer what the store keeps.

Seeds and the rule for few-shot examples are those of the harness' own command: a number that is given replaces a task's
own, except where a task fixes zero. Standard errors are the harness': closed form for means, bootstrap for the rest.
The hash of a task is the harness' too, over documents, prompts and targets, so that it can be compared with others'.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.catalogue import quiet
from benchmarks.harness.code_eval import sandboxed

OnProgress = Callable[[float], None]
#: Draws of the bootstrap for metrics that are no means; gives the error to two digits.
BOOTSTRAP = 1000
_OTHER_SEED = 1234


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a task gave.

    Attributes:
        tasks: For each task, and each group of them, its metrics, number of examples and of few-shot ones, version and
            hash; the one that was asked for comes first.
        samples: For each task, a record of every example.
    """

    tasks: dict[str, dict[str, Any]]
    samples: dict[str, list[dict[str, Any]]]


def evaluate(
    model: Any,
    tokenizer: Any,
    name: str,
    loaded: dict[str, Any],
    *,
    limit: int | None,
    num_fewshot: int | None,
    batch_size: int | str,
    chat_template: bool,
    on_progress: OnProgress = lambda fraction: None,
) -> Evaluated:
    """Score a model on one task or group.

    Args:
        model: A language model in evaluation mode, a PEFT model too.
        tokenizer: Its tokenizer.
        name: What was asked for.
        loaded: What `Catalogue.load` made of it.
        limit: Examples of each task; None takes all.
        num_fewshot: Examples in front of each prompt; None leaves it to the task.
        batch_size: Examples at a time; "auto" tries what fits on a GPU.
        chat_template: Whether prompts go through the tokenizer's chat template.
        on_progress: Called with the finished share.
    """
    with quiet():
        from lm_eval import evaluator
    _seed()
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=_OTHER_SEED)
    with quiet(), sandboxed():
        results = evaluator.evaluate(
            lm=_language_model(model, tokenizer, batch_size, on_progress),
            task_dict=loaded,
            limit=limit,
            bootstrap_iters=BOOTSTRAP,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
            # Allowed or refused when the task was loaded; what runs now runs in the sandbox.
            confirm_run_unsafe_code=True,
        )
    samples = {task: [_plain(sample) for sample in found] for task, found in results["samples"].items()}
    names = sorted(results["results"], key=lambda task: task != name)
    return Evaluated(tasks={task: _task(task, results, samples) for task in names}, samples=samples)


def _seed() -> None:
    random.seed(0)
    np.random.seed(_OTHER_SEED)
    torch.manual_seed(_OTHER_SEED)


def _language_model(model: Any, tokenizer: Any, batch_size: int | str, on_progress: OnProgress) -> Any:
    """Return the harness' model of Hugging Face models, which reports progress instead of drawing bars."""
    from lm_eval.api.model import CacheHook
    from lm_eval.models.huggingface import HFLM

    class Counting(CacheHook):
        """Is told of every answer, since the harness might want to cache it."""

        def __init__(self, total: int) -> None:
            super().__init__(None)
            self.total = total
            self.done = 0

        def add_partial(self, attr: str, req: Any, res: Any) -> None:
            self.done += 1
            on_progress(min(1.0, self.done / self.total))

    class Model(HFLM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            self.set_cache_hook(Counting(len(requests)))
            return super().generate_until(requests, disable_tqdm=True)

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            self.set_cache_hook(Counting(len(requests)))
            return super().loglikelihood(requests, disable_tqdm=True)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            self.set_cache_hook(Counting(len(requests)))
            return super().loglikelihood_rolling(requests, disable_tqdm=True)

        def _model_generate(self, context: Any, max_length: int, stop: Any, **options: Any) -> Any:
            # 2026-11, lm_eval 0.4.13: an encoder-decoder, whose output holds no question, was let write as many tokens
            # more as its question has. Its output begins with a start token instead.
            if self.backend == "seq2seq":
                max_length += 1 - context.shape[1]
            return super()._model_generate(context, max_length, stop, **options)

    return Model(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def _task(name: str, results: dict[str, Any], samples: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found = results["results"][name]
    metrics = []
    for key, value in found.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        error = found.get(f"{metric}_stderr,{filter_name}")
        metrics.append(
            {"metric": metric, "filter": filter_name, "value": _number(value), "standard_error": _number(error)}
        )
    return {
        "metrics": metrics,
        "examples": found.get("sample_len"),
        "num_fewshot": results["n-shot"].get(name),
        "version": results["versions"].get(name),
        "hash": _hash(samples[name]) if name in samples else None,
        "subtasks": results["group_subtasks"].get(name, []),
    }


def primary(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metric that stands for a task in one column: the first it lists, by its first filter; None if none."""
    metrics: Sequence[dict[str, Any]] = result["metrics"]
    return next((metric for metric in metrics if metric["value"] is not None), None)


def _hash(samples: Sequence[dict[str, Any]]) -> str:
    text = "".join(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples)
    return sha256(text.encode()).hexdigest()


def _number(value: Any) -> float | None:
    """Return a finite number; the harness writes "N/A" and NaN where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers that are not finite become None, unknown objects their text."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def write_samples(folder: Path, samples: dict[str, list[dict[str, Any]]]) -> None:
    """Write one JSON line for each example into FOLDER/TASK.jsonl."""
    folder.mkdir()
    for task, found in samples.items():
        path = folder / f"{task.replace('/', '_')}.jsonl"
        path.write_text("".join(json.dumps(sample, allow_nan=False) + "\n" for sample in found), encoding="utf-8")
