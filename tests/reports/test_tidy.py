"""The exported runs: every column documented, every number the stored one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reports.columns import COLUMNS
from reports.store import load_store
from reports.tidy import write_runs

MakeStore = Callable[..., Path]


@pytest.fixture
def exported(three_seeds: Path, tmp_path: Path) -> tuple[Path, Path]:
    return write_runs(load_store(three_seeds), tmp_path)


def test_every_column_is_documented_in_the_file_and_beside_it(exported: tuple[Path, Path]) -> None:
    schema = pq.read_schema(exported[0])
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", exported[1].read_text(), flags=re.M)
    assert [name for name, *_ in documented] == schema.names
    for field, (_, _, unit, description) in zip(schema, documented, strict=True):
        assert description.strip().endswith(".")
        assert field.metadata == {b"description": description.strip().encode(), b"unit": unit.strip().encode()}
    assert len(set(schema.names)) == len(schema.names) == len(COLUMNS) + 1


def test_every_number_is_the_stored_one(exported: tuple[Path, Path], three_seeds: Path) -> None:
    rows = pq.read_table(exported[0]).to_pylist()
    assert len(rows) == 8
    for row in rows:
        record = json.loads((three_seeds / "runs" / row["key"] / "run.json").read_text())
        for name, value in record["row"].items():
            assert row[name] == value, name
        assert json.loads(row["options"]) == record["spec"]["options"]
        assert row["seconds_train"] == record["seconds"]["train"]
        assert row["torch"] == "2.13.0"
        assert row["main"] is True
        assert row["lambda_max_lora"] is None


def test_other_settings_are_told_apart(make_store: MakeStore, tmp_path: Path) -> None:
    folder = make_store(count=20)
    (folder / "comparison.json").unlink()
    source, target = folder / "runs" / "lora-pocket-math-s0", folder / "runs" / "other"
    target.mkdir()
    for name in ("history.json", "examples.json"):
        target.joinpath(name).write_text(source.joinpath(name).read_text())
    record = json.loads((source / "run.json").read_text())
    record["key"] = "other"
    record["spec"]["learning_rate"] = 0.5
    (target / "run.json").write_text(json.dumps(record))
    rows = pq.read_table(write_runs(load_store(folder), tmp_path)[0]).to_pylist()
    assert {row["key"]: row["main"] for row in rows}["other"] is False
    assert sum(row["main"] for row in rows) == 3
