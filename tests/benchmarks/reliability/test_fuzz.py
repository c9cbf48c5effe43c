from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.reliability import fuzz as module
from benchmarks.reliability.fuzz import fuzz, merged, totals
from benchmarks.reliability.target import Target


@pytest.mark.parametrize(
    ("kinds", "inputs"),
    [
        (("configurations", "adapter", "published"), 300),
        pytest.param(("run folders",), 150, marks=pytest.mark.slow),
        pytest.param((), 1000, marks=pytest.mark.slow),
    ],
)
def test_every_input_is_answered(kinds: tuple[str, ...], inputs: int, tmp_path: Path) -> None:
    found = fuzz(tmp_path, inputs=inputs, seed=7, kinds=kinds, say=lambda line: None)
    assert found["findings"] == []
    assert found["answered"] == found["inputs"] == pytest.approx(inputs, abs=2)
    for section in found["kinds"].values():
        # Damage that is always refused, or never, would test one path alone.
        assert section["accepted"] > 0
        assert section["refused"] > 0


class Careless(Target):
    """Makes every mistake that the fuzzer looks for, by the number that is drawn."""

    name = "careless"
    share = 1.0
    seconds = 0.2

    def answer(self, place: Path, draw: random.Random) -> str:
        mistake = draw.randrange(5)
        if mistake == 0:
            raise KeyError("a traceback")
        if mistake == 1:
            (self.outside / "touched").write_text("x")
        if mistake == 2:
            (place / "unpickled").mkdir()
        while mistake == 3:
            pass
        return "accepted"


def test_mistakes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TARGETS", (Careless,))
    found = fuzz(tmp_path, inputs=20, seed=0, say=lambda line: None)
    section = found["kinds"]["careless"]
    assert section["traceback"] > 0
    assert section["too slow"] > 0
    assert section["reached out"] > 0
    assert 0 < found["answered"] < 20
    said = " ".join(found["findings"])
    for words in (
        "KeyError: 'a traceback' (test_fuzz.py:",
        "not answered within",
        "code of the input was run",
        "open ",
    ):
        assert words in said
    assert "the folder beside the inputs was touched" in found["findings"]


def test_kinds_that_are_tried_apart_are_recorded_together() -> None:
    one = {"seed": 0, **totals({"a": {"inputs": 3, "answered": 2}}), "findings": ["a, input 1: x"]}
    other = {"seed": 0, **totals({"b": {"inputs": 4, "answered": 4}}), "findings": []}
    both = merged(one, other)
    assert (both["inputs"], both["answered"], both["findings"]) == (7, 6, ["a, input 1: x"])
    again = merged(both, {"seed": 0, **totals({"a": {"inputs": 3, "answered": 3}}), "findings": []})
    assert (again["inputs"], again["answered"], again["findings"]) == (7, 7, [])
    assert merged(both, other | {"seed": 1}) == other | {"seed": 1}
