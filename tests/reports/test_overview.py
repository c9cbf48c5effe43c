"""The tables over all tasks: main, variants, options, cost, each number recomputed from stored files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.ablation import ablation_table
from reports.comparison import ComparisonRow, build_comparison
from reports.cost_table import cost_table
from reports.layout import Cell, Table
from reports.overview import overview_methods, overview_table
from reports.standing import standings
from reports.store import Store, load_store
from reports.variants import variants_table

TASKS = ("pocket-math", "pocket-code")
MakeStore = Callable[..., Path]


def rows_of(store: Store) -> dict[str, tuple[ComparisonRow, ...]]:
    return {task: build_comparison(store, task) for task in store.tasks}


def cells(table: Table, label: str, group: int = 0) -> dict[str, Cell]:
    line = next(line for line in table.groups[group].lines if line.label == label)
    return dict(zip((column.title for column in table.columns), line.cells, strict=True))


def stored(folder: Path, method: str, task: str, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / f"{method}-{task}-s{seed}" / "run.json").read_text())
    return found["row"]  # type: ignore[no-any-return]


def as_variant(folder: Path, source: str, name: str, seed: int) -> None:
    """Copy a run of the first task as one of an adapter variant."""
    old, new = folder / "runs" / f"{source}-{TASKS[0]}-s{seed}", folder / "runs" / f"{name}-s{seed}"
    new.mkdir()
    for path in old.iterdir():
        new.joinpath(path.name).write_text(path.read_text())
    record = json.loads((new / "run.json").read_text())
    record["key"] = new.name
    record["row"]["method"] = name
    (new / "run.json").write_text(json.dumps(record))


def test_scores_average_and_marks_are_those_of_the_runs(make_store: MakeStore) -> None:
    folder = make_store(tasks=TASKS, seeds=(0, 1, 2), count=60)
    store = load_store(folder)
    table = overview_table(store, rows_of(store))
    for method, label in (("lora", "LoRA"), ("lora-sam", "LoRA-SAM"), ("bilora", "Bi-LoRA")):
        found = cells(table, label)
        scores = np.array([[stored(folder, method, task, seed)["score"] for seed in range(3)] for task in TASKS])
        for task, row in zip(TASKS, scores, strict=True):
            assert found[task].text == f"{100 * row.mean():.1f}"
            assert found[task].detail == f"± {100 * stats.sem(row):.1f}"
            assert found[task].mark == standings(store, (task,))[method].mark
        numbers = dict(found["Average"].numbers)
        assert numbers["value"] == pytest.approx(scores.mean())
        assert numbers["standard_error"] == pytest.approx(stats.sem(scores.mean(axis=0)))
        cost = [
            np.mean([stored(folder, method, t, s)["step_seconds"] / stored(folder, "lora", t, s)["step_seconds"]
                     for s in range(3)]) for t in TASKS
        ]  # fmt: skip
        assert found["Cost"].value == pytest.approx(np.mean(cost))
    assert cells(table, "Bi-LoRA")["Average"].mark == "best"


def test_a_method_that_lacks_a_task_has_no_average(make_store: MakeStore) -> None:
    folder = make_store(tasks=TASKS, count=30)
    (folder / "runs" / f"bilora-{TASKS[1]}-s0").rename(folder / "moved")
    store = load_store(folder)
    found = cells(overview_table(store, rows_of(store)), "Bi-LoRA")
    assert found[TASKS[1]].reason.startswith("not finished yet")
    assert found["Average"].reason.startswith("no average: pocket-code has no finished run")
    assert found[TASKS[0]].mark == "best"


def test_variants_stand_alone_and_with_the_method(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), count=40)
    (folder / "comparison.json").unlink()
    for seed in (0, 1):
        as_variant(folder, "lora", "pissa+lora", seed)
        as_variant(folder, "bilora", "pissa+bilora", seed)
        as_variant(folder, "bilora", "dora+bilora", seed)
    store = load_store(folder)
    assert overview_methods(store) == ("lora", "lora-sam", "bilora")
    table = variants_table(store, rows_of(store))
    assert table is not None
    assert [line.label for line in table.groups[0].lines] == ["LoRA", "DoRA", "PiSSA"]
    plain, copied = cells(table, "LoRA"), cells(table, "PiSSA")
    assert plain == copied
    difference = np.mean([stored(folder, "bilora", TASKS[0], s)["score"] for s in (0, 1)]) - np.mean(
        [stored(folder, "lora", TASKS[0], s)["score"] for s in (0, 1)]
    )
    assert copied["Bi-LoRA minus alone"].value == pytest.approx(difference)
    assert cells(table, "DoRA")["Bi-LoRA minus alone"].reason == "DoRA + LoRA: not planned in this comparison"


def test_without_variants_and_other_settings_there_are_no_such_tables(one_seed: Path) -> None:
    store = load_store(one_seed)
    assert variants_table(store, rows_of(store)) is None
    assert ablation_table(store) is None


def test_settings_are_rows_with_their_difference_to_the_main_one(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), count=40)
    (folder / "comparison.json").unlink()
    for seed in (0, 1):
        for rho in (0.1, 0.02):
            new = folder / "runs" / f"rho-{rho}-{seed}"
            new.mkdir()
            for path in (folder / "runs" / f"bilora-{TASKS[0]}-s{seed}").iterdir():
                if path.name != "measurement.json":
                    new.joinpath(path.name).write_text(path.read_text())
            record = json.loads((new / "run.json").read_text())
            record["key"], record["spec"]["options"] = new.name, {"rho": rho}
            (new / "run.json").write_text(json.dumps(record))
    table = ablation_table(load_store(folder))
    assert table is not None
    assert [line.label for line in table.groups[0].lines] == ["main setting (rho = 0.05)", "rho = 0.02", "rho = 0.1"]
    # The same answers under another setting: no difference, and the interval says so.
    assert dict(cells(table, "rho = 0.1")["Difference to main"].numbers) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_costs_are_in_the_units_of_their_columns(three_seeds: Path) -> None:
    store = load_store(three_seeds)
    found = cells(cost_table(store, rows_of(store)), "Bi-LoRA")
    seconds = [stored(three_seeds, "bilora", TASKS[0], seed)["step_seconds"] for seed in range(3)]
    assert found["Step"].value == pytest.approx(1000 * np.mean(seconds))
    assert found["Step"].detail == f"± {1000 * stats.sem(seconds):.2g}"
    memory = [stored(three_seeds, "bilora", TASKS[0], seed)["peak_memory_bytes"] for seed in range(3)]
    assert found["Peak memory"].value == pytest.approx(np.mean(memory) / 2**30)
    assert found["Extra state"].reason.startswith("extra_memory_bytes was not recorded")
