from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reports.layout import HOLE
from reports.store import Store
from reports.tuning import tuning_table

SEARCH = {
    "method": "bilora",
    "task": "pocket-math",
    "gradient_evaluations": 240.0,
    "chosen": 1,
    "trials": [
        {"key": "a", "learning_rate": 0.002, "radius": 0.05, "score": 0.5, "problem": None},
        {"key": "b", "learning_rate": 0.001, "radius": 0.00794, "score": 0.625, "problem": None},
        {"key": "c", "learning_rate": 0.004, "radius": 0.063, "score": None, "problem": "training diverged"},
    ],
}


def store(**changes: object) -> Store:
    empty = Store(
        folder=Path(),
        command="",
        created="",
        methods=("bilora",),
        tasks=("pocket-math",),
        seeds=(0,),
        baseline="bilora",
        conventions={},
        environment={},
        planned=(),
        runs=(),
        holes=(),
        problems=(),
    )
    return replace(empty, **changes)  # type: ignore[arg-type]


def test_every_trial_is_a_row_and_the_budget_heads_them() -> None:
    table = tuning_table(store(tuning=(SEARCH,)), "pocket-math")
    assert table is not None
    (group,) = table.groups
    assert group.title == "Bi-LoRA: 3 trials, 240 gradient evaluations"
    assert [line.label for line in group.lines] == [
        "Bi-LoRA, trial 1",
        "Bi-LoRA, trial 2 (chosen)",
        "Bi-LoRA, trial 3",
    ]
    assert [cell.text for cell in group.lines[1].cells] == ["0.001", "0.00794", "62.5"]
    failed = group.lines[2].cells[2]
    assert (failed.text, failed.reason) == (HOLE, "training diverged")


def test_a_method_without_a_radius_says_so() -> None:
    search = {**SEARCH, "method": "lora", "trials": [{"learning_rate": 0.002, "radius": None, "score": 0.5}]}
    table = tuning_table(store(tuning=(search,)), "pocket-math")
    assert table is not None
    assert table.groups[0].lines[0].cells[1].reason == "this method has none"


def test_untuned_tasks_have_no_table() -> None:
    assert tuning_table(store(), "pocket-math") is None
    assert tuning_table(store(tuning=(SEARCH,)), "pocket-chat") is None
