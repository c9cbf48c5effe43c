"""Settings: what makes two runs alike, and which setting of a method is its main one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.spec import _LATER_FIELDS, RunSpec
from reports.run_folder import load_run
from reports.settings import BESIDE, LATER, by_setting, main_runs, setting_of, varied
from reports.store import Store, load_store

TASK = "pocket-math"
#: Fields of a specification that change what is trained; a field that comes is put here or among those beside.
TRAINED = {
    "alpha", "attention", "batch_size", "chat_template", "dropout", "dtype", "gradient_checkpointing", "judges",
    "learning_rate", "max_grad_norm", "max_length", "micro_batch_size", "model", "options", "packing", "rank",
    "resolution", "revision", "schedule", "steps", "target_modules", "trust_remote_code", "warmup", "weight_decay",
}  # fmt: skip
MakeStore = Callable[..., Path]


def collection(folder: Path) -> Path:
    """Make a comparison's folder one of runs alone."""
    (folder / "comparison.json").unlink()
    return folder


def add_run(folder: Path, method: str, seed: int, name: str, **changes: Any) -> None:
    """Copy a run under another key with changes of its specification."""
    source, target = folder / "runs" / f"{method}-{TASK}-s{seed}", folder / "runs" / name
    target.mkdir()
    for path in source.iterdir():
        target.joinpath(path.name).write_text(path.read_text())
    record = json.loads((target / "run.json").read_text())
    record["key"] = name
    record["spec"] |= changes
    (target / "run.json").write_text(json.dumps(record))


def store_with_radii(make_store: MakeStore, **options: Any) -> Store:
    folder = collection(make_store(seeds=(0, 1), count=40, **options))
    for seed in (0, 1):
        add_run(folder, "bilora", seed, f"wide-{seed}", options={"rho": 0.2})
        (folder / "runs" / f"wide-{seed}" / "measurement.json").unlink()
    return load_store(folder)


def test_every_field_of_a_specification_is_part_of_a_setting_or_beside_it() -> None:
    fields = {field.name for field in dataclasses.fields(RunSpec)}
    assert fields - TRAINED == BESIDE
    assert fields >= TRAINED


def test_runs_from_before_a_field_came_have_the_setting_of_its_default(make_store: MakeStore) -> None:
    assert {name: value for name, value in _LATER_FIELDS.items() if name not in BESIDE} == LATER
    folder = collection(make_store(count=20))
    add_run(folder, "lora", 0, "now", **LATER)
    add_run(folder, "lora", 0, "other", **{**LATER, "dtype": "bfloat16"})
    before, now, other = (setting_of(load_run(folder / "runs" / name)) for name in (f"lora-{TASK}-s0", "now", "other"))
    assert before == now
    assert varied([other], before) == {other: "dtype = bfloat16"}


def test_seed_machine_and_measurements_are_no_part_of_a_setting(make_store: MakeStore) -> None:
    folder = collection(make_store(count=20))
    elsewhere = {"data": "/elsewhere", "evaluation_batch_size": 4, "test_examples": 9}
    add_run(folder, "lora", 0, "again", device="cuda", measurement={"top": 3}, software="x", **elsewhere)
    first, again = (load_run(folder / "runs" / name) for name in (f"lora-{TASK}-s0", "again"))
    assert setting_of(first) == setting_of(again)
    assert ("options.rho", "0.05") in setting_of(first)
    assert not {"seed", "device", "measurement", "task"} & {name.split(".")[0] for name, _ in setting_of(first)}


def test_the_main_setting_is_measured_and_the_other_is_a_row_of_its_own(make_store: MakeStore) -> None:
    store = store_with_radii(make_store)
    assert [run.key for run in store.runs_of(TASK, "bilora")] == [f"bilora-{TASK}-s{seed}" for seed in (0, 1)]
    assert [run.key for run in store.others] == ["wide-0", "wide-1"]
    main = setting_of(store.runs_of(TASK, "bilora")[0])
    assert varied(by_setting(store.others), main) == {setting_of(store.others[0]): "rho = 0.2"}


def test_options_that_more_tasks_share_are_the_main_ones(make_store: MakeStore) -> None:
    folder = collection(make_store(tasks=(TASK, "pocket-code"), count=20))
    for seed in range(1, 4):
        add_run(folder, "bilora", 0, f"wide-{seed}", options={"rho": 0.2})
        path = folder / "runs" / f"wide-{seed}" / "run.json"
        record = json.loads(path.read_text())
        record["row"]["seed"] = seed
        path.write_text(json.dumps(record))
    store = load_store(folder)
    assert {run.key for run in main_runs((*store.runs, *store.others)) if run.method == "bilora"} == {
        f"bilora-{TASK}-s0",
        "bilora-pocket-code-s0",
    }
