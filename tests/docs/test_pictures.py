"""Pictures are drawn, and the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.pages import pictures
from docs.pages.gauges import RADII, Gauges


def test_the_same_numbers_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(scales=(0.5, 1.0, 2.0), raw=(4.0, 2.0, 4.0), balanced=(2.0, 2.0, 2.0), full=(1.0, 1.0, 1.0))
    monkeypatch.setattr(pictures, "measure_gauges", lambda: gauges)
    monkeypatch.setattr(
        pictures, "measure_rises", lambda: {"full": [r**2 for r in RADII], "lora": [r**3 for r in RADII]}
    )
    for name in ("one", "other"):
        pictures.write_pictures(tmp_path / name)
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert written == ["gauge.svg", "rises.svg", "scalar.svg"]
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "other" / n).read_bytes() for n in written)


def test_the_legend_states_the_closed_form_that_is_drawn() -> None:
    curve = pictures.scalar_picture().axes[1].lines[0]
    scales, values = curve.get_data()
    assert values == pytest.approx(scales**2 + 1 / scales**2)
    assert min(values) == pytest.approx(2.0, rel=1e-3)
