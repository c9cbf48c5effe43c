from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import SettingsError
from analysis.measure.record import MeasureRecord

HEAD = {"settings": {"radius": 0.05, "spaces": ("full",)}}


def test_parts_survive_and_are_found_again(tmp_path: Path) -> None:
    record = MeasureRecord(tmp_path, HEAD)
    record.add("full", "top", {"top": [{"value": 1.0}], "bottom": []})
    again = MeasureRecord(tmp_path, HEAD)
    assert again.has("full", "top")
    assert not again.has("full", "trace")
    assert not again.has("lora", "top")
    assert again.content["spaces"]["full"]["top"] == [{"value": 1.0}]


def test_a_problem_is_noted_and_goes_when_the_part_succeeds(tmp_path: Path) -> None:
    record = MeasureRecord(tmp_path, HEAD)
    record.fail("full", "trace", "out of memory")
    assert json.loads(record.path.read_text())["problems"] == {"full": {"trace": "out of memory"}}
    assert not record.has("full", "trace")
    record.add("full", "trace", {"trace": {"value": 2.0}})
    assert json.loads(record.path.read_text())["problems"]["full"] == {}


def test_another_measurement_is_not_mixed_in(tmp_path: Path) -> None:
    MeasureRecord(tmp_path, HEAD)
    with pytest.raises(SettingsError, match=r"settings\.radius was 0\.05, now 0\.1"):
        MeasureRecord(tmp_path, {"settings": {"radius": 0.1, "spaces": ("full",)}})


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--out: .* cannot be used"):
        MeasureRecord(tmp_path / "file", HEAD)
    (tmp_path / "measure.json").write_text("{half")
    with pytest.raises(SettingsError, match=r"--out: .* cannot be used"):
        MeasureRecord(tmp_path, HEAD)


def test_numbers_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    record = MeasureRecord(tmp_path, HEAD)
    before = record.path.read_text()
    with pytest.raises(ValueError, match="JSON"):
        record.add("full", "top", {"top": float("nan")})
    assert record.path.read_text() == before
