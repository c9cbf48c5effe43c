from __future__ import annotations

from reports.harness import harness_columns, harness_names, whole_score


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


def test_a_score_on_part_of_a_task_is_a_column_but_not_the_whole_score() -> None:
    columns = harness_columns({"gsm8k": {"value": 0.5, "limit": 10}, "mmlu": {"value": 0.25}})
    assert columns["lm-eval: gsm8k limit"] == 10
    assert harness_names([columns]) == ("lm-eval: gsm8k", "lm-eval: mmlu")
    assert [whole_score(columns, task) for task in ("gsm8k", "mmlu", "drop")] == [None, 0.25, None]
