from __future__ import annotations

from reports.harness import harness_columns, harness_names


def test_every_task_has_a_value_and_an_error() -> None:
    record = {"gsm8k": {"value": 0.5, "standard_error": 0.01, "metric": "exact_match"}, "mmlu": {"value": 0.25}}
    columns = harness_columns(record)
    assert columns == {
        "lm-eval: gsm8k": 0.5,
        "lm-eval: gsm8k standard error": 0.01,
        "lm-eval: mmlu": 0.25,
        "lm-eval: mmlu standard error": None,
    }
    assert harness_names([{"score": 1.0}, columns, {"lm-eval: drop": 0.1}]) == (
        "lm-eval: gsm8k",
        "lm-eval: mmlu",
        "lm-eval: drop",
    )
