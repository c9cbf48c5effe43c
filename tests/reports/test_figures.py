"""Figures hold the stored numbers, and are written without dates or outside references."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from reports.comparison import build_comparison
from reports.figures import Drawing, draw_task
from reports.figures.canvas import inline_svg, save
from reports.sharpness import build_sharpness
from reports.store import load_store
from reports.style import method_style

TASK = "pocket-math"
METHODS = ("lora", "lora-sam", "bilora")
MakeStore = Callable[..., Path]


def draw(folder: Path) -> dict[str, Drawing]:
    store = load_store(folder)
    drawings = draw_task(store, TASK, build_comparison(store, TASK), build_sharpness(store, TASK))
    return {drawing.name.removesuffix(f"-{TASK}"): drawing for drawing in drawings}


@pytest.fixture(scope="module")
def drawings(one_seed: Path) -> dict[str, Drawing]:
    return draw(one_seed)


def lines(drawing: Drawing, panel: int) -> dict[str, list[np.ndarray]]:
    """Return the data of a panel's lines, by colour."""
    found: dict[str, list[np.ndarray]] = {}
    for line in drawing.figure.axes[panel].lines:
        found.setdefault(to_hex(line.get_color()), []).append(np.asarray(line.get_xydata()))
    return found


def colour(method: str) -> str:
    return method_style(method).colour


def test_all_figures_are_there_with_words_for_them(drawings: dict[str, Drawing]) -> None:
    assert list(drawings) == ["cost", "curves", "slices", "spectrum", "sharpness"]
    for drawing in drawings.values():
        assert drawing.caption.endswith(".")
        for label in ("LoRA", "LoRA-SAM", "Bi-LoRA"):
            assert label in drawing.alt


def test_curves_hold_the_stored_history(drawings: dict[str, Drawing], one_seed: Path) -> None:
    for method in METHODS:
        history = json.loads((one_seed / "runs" / f"{method}-{TASK}-s0" / "history.json").read_text())
        for panel, place, field in ((0, 0, "loss"), (1, 0, "validation_loss"), (1, 1, "train_eval_loss")):
            expected = [[record["step"], record[field]] for record in history if field in record]
            np.testing.assert_allclose(lines(drawings["curves"], panel)[colour(method)][place], expected)


def test_slices_hold_the_mean_increase_in_both_spaces(drawings: dict[str, Drawing], one_seed: Path) -> None:
    for method in METHODS:
        spaces = json.loads((one_seed / "runs" / f"{method}-{TASK}-s0" / "measurement.json").read_text())["spaces"]
        for panel, space in enumerate(("full", "lora")):
            stored = spaces[space]["slices"]
            losses = np.array(stored["losses"])
            expected = (losses - losses[:, [stored["alphas"].index(0.0)]]).mean(axis=0)
            line = lines(drawings["slices"], panel)[colour(method)][0]
            np.testing.assert_allclose(line, np.column_stack([stored["alphas"], expected]))


def test_spectrum_holds_both_ends_with_residual_bars(drawings: dict[str, Drawing], one_seed: Path) -> None:
    figure = drawings["spectrum"].figure
    spaces = json.loads((one_seed / "runs" / f"bilora-{TASK}-s0" / "measurement.json").read_text())["spaces"]
    for panel, (space, end) in enumerate((s, e) for e in ("top", "bottom") for s in ("full", "lora")):
        bars = figure.axes[panel].containers[METHODS.index("bilora")]
        stored = spaces[space][end]
        np.testing.assert_allclose(bars[0].get_ydata(orig=False), [pair["value"] for pair in stored])
        half = [(segment[1][1] - segment[0][1]) / 2 for segment in bars[2][0].get_segments()]
        np.testing.assert_allclose(half, [pair["residual"] for pair in stored], rtol=1e-6)


def test_sharpness_points_are_the_stored_increases(drawings: dict[str, Drawing], one_seed: Path) -> None:
    for method in METHODS:
        spaces = json.loads((one_seed / "runs" / f"{method}-{TASK}-s0" / "measurement.json").read_text())["spaces"]
        estimates = [(s, e) for s in ("full", "lora") for e in ("worst_case_one_step", "worst_case", "average_case")]
        for panel, (space, estimate) in enumerate(estimates):
            point = drawings["sharpness"].figure.axes[panel].containers[METHODS.index(method)][0]
            assert point.get_xdata()[0] == pytest.approx(spaces[space][estimate]["increase"])
    for space in ("full", "LoRA"):
        assert f"ρ = 0.05 in the worst case and ρ = 1 on average in the {space} space" in drawings["sharpness"].caption


def test_cost_points_are_score_against_relative_time(drawings: dict[str, Drawing], one_seed: Path) -> None:
    rows = build_comparison(load_store(one_seed), TASK)
    for row, bars in zip(rows, drawings["cost"].figure.axes[0].containers, strict=True):
        assert bars[0].get_xdata()[0] == row.values["relative_cost"].mean
        assert bars[0].get_ydata()[0] == 100 * row.values["score"].mean
        low, high = bars[2][0].get_segments()[0][:, 1]
        assert row.score_interval is not None
        assert (low, high) == (
            pytest.approx(100 * row.score_interval.low),
            pytest.approx(100 * row.score_interval.high),
        )


def test_several_seeds_are_averaged_with_a_band(three_seeds: Path) -> None:
    found = draw(three_seeds)
    histories = [
        json.loads((three_seeds / "runs" / f"lora-{TASK}-s{seed}" / "history.json").read_text()) for seed in range(3)
    ]
    expected = np.mean([[r["loss"] for r in history if "loss" in r] for history in histories], axis=0)
    np.testing.assert_allclose(lines(found["curves"], 0)[colour("lora")][0][:, 1], expected)
    assert len(found["curves"].figure.axes[0].collections) == 3
    assert "Bands run from the smallest to the largest seed." in found["curves"].caption


def test_what_was_not_measured_is_not_drawn(make_store: MakeStore) -> None:
    folder = make_store()
    for path in (folder / "runs").glob("*/measurement.json"):
        path.unlink()
    assert list(draw(folder)) == ["cost", "curves"]


def test_a_slice_that_overflows_leaves_a_gap(make_store: MakeStore) -> None:
    folder = make_store()
    path = folder / "runs" / f"lora-{TASK}-s0" / "measurement.json"
    record = json.loads(path.read_text())
    record["spaces"]["full"]["slices"]["losses"][0][-1] = None
    path.write_text(json.dumps(record))
    drawing = draw(folder)["slices"]
    assert np.isnan(lines(drawing, 0)[colour("lora")][0][-1, 1])
    assert "LoRA has no finite loss in the full space" in drawing.alt


def test_files_carry_no_date_and_settings_come_back(drawings: dict[str, Drawing], tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    png, pdf, svg = save(drawings["cost"], tmp_path)
    assert dict(mpl.rcParams) == before
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in pdf.read_bytes()
    assert ET.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "date" not in svg.read_text()
    assert b"Software" not in png.read_bytes()
    # Journals refuse Type 3 fonts.
    assert b"/Type3" not in pdf.read_bytes()


def test_inline_svg_is_self_contained_and_follows_the_page(drawings: dict[str, Drawing]) -> None:
    texts = {name: inline_svg(drawing) for name, drawing in drawings.items()}
    identifiers: set[str] = set()
    for name, svg in texts.items():
        ET.fromstring(svg)
        assert "http" not in svg
        assert "var(--ink)" in svg
        own = set(re.findall(r'\bid="([^"]+)"', svg))
        used = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert used <= own, name
        assert not own & identifiers
        identifiers |= own
