"""The functions that the exported `pocket-code` names in its YAML; lm-eval imports this file by its name.

They do what those of lm-eval's own HumanEval do, and ask for `code_eval` as those do, when they are imported: in this
project that is the sandboxed one (`benchmarks.harness.code_eval`); a harness of its own takes the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import evaluate

code_eval = evaluate.load("code_eval")


def pass_at_k(references: Sequence[str], predictions: Sequence[Sequence[str]], k: Sequence[int]) -> dict[str, float]:
    """Return pass@k of the candidates of one problem."""
    scores: dict[str, float] = code_eval.compute(references=references, predictions=predictions, k=k)[0]
    return scores


def build_predictions(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the programs that prompts and completions make."""
    return [[doc["prompt"] + text for text in texts] for texts, doc in zip(resps, docs, strict=True)]
