from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.presets.reading import joined, read_preset_file
from benchmarks.safe_yaml import LARGEST


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_file_takes_over_what_it_is_based_on(tmp_path: Path) -> None:
    write(tmp_path, "_base", "settings: {rank: 8, options: {bilora: {rho: 0.05}}}\nour_choice: {a: why}\n")
    path = write(tmp_path, "own", "based_on: _base\nsettings: {rank: 4, options: {bilora: {clip: none}}}\n")
    content = read_preset_file(path)
    assert content["settings"] == {"rank": 4, "options": {"bilora": {"rho": 0.05, "clip": "none"}}}
    assert content["our_choice"] == {"a": "why"}


def test_joining_changes_neither_side() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert joined(below, above) == {"a": {"b": 1, "c": 2}}
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("settings: [1", "is not valid YAML"),
        ("- a", "holds a list; expected 'key: value' lines"),
        ("setings: {}", "has unknown key 'setings'"),
        ("based_on: own", "own.yaml is based on itself"),
        ("based_on: ../own", "expected the name of a file beside it"),
        ("based_on: absent", "absent.yaml cannot be read"),
        ("settings: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("# " + "x" * LARGEST, f"it has more than {LARGEST} bytes"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "own", text)
    with pytest.raises(UsageError) as error:
        read_preset_file(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
