"""Every public name stands on one page of the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

import analysis
import bilora
from docs.pages import api


def test_no_public_name_is_left_out() -> None:
    assert api.unplaced() == []
    for package in (analysis, bilora):
        placed = [n for s in api.SUBJECTS if s.package == package.__name__ for n in api.names_of(s)]
        assert sorted(placed) == sorted(package.__all__)


def test_a_name_of_an_unknown_module_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "SUBJECTS", tuple(s for s in api.SUBJECTS if s.page != "analysis-landscape"))
    with pytest.raises(RuntimeError, match=r"no subject .* takes these names: .*analysis\.slices"):
        api.write_pages(tmp_path)


def test_functions_stand_before_classes_before_constants() -> None:
    pytest.importorskip("sphinx")
    (sharpness,) = [subject for subject in api.SUBJECTS if subject.page == "analysis-sharpness"]
    names = api.names_of(sharpness)
    assert names.index("worst_case") < names.index("WorstCase") < names.index("NORMS")
    text = api.page(sharpness)
    assert ".. autofunction:: analysis.worst_case\n" in text
    assert ".. autoclass:: analysis.WorstCase\n" in text


def test_constants_show_what_their_source_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    assert "Table A6" in api.comment("analysis", "PAPER_ALPHAS")
    assert "labels" in api.comment("analysis", "causal_lm_loss")
    with pytest.raises(RuntimeError, match="nothing is said of the public constant IGNORED_LABEL"):
        api.comment("analysis", "IGNORED_LABEL")
