"""Figures of what runs recorded while they trained, and of all tasks together, against the stored numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from scipy import stats

from reports.capture import capture_table
from reports.comparison import build_comparison
from reports.figures import Drawing, draw_summary, draw_task
from reports.figures.intervals import interval_rows
from reports.figures.pareto import front
from reports.sharpness import build_sharpness
from reports.store import Store, load_store
from reports.style import method_style

TASK = "pocket-math"
STEPS = [0, 5, 10]
MakeStore = Callable[..., Path]


def record(seed: int) -> dict[str, Any]:
    """Return the dynamics of one run; step 0 has no direction of B and no second-order term."""
    part = {"A": [0.8, 0.9 + 0.01 * seed, 1.0], "B": [None, 0.5 + 0.1 * seed, 1.0], "product": [None, 0.4, 1.0]}
    terms = [[0, {"linear": 1.0, "bilinear": 0.0}], [5, {"linear": 2.0, "bilinear": 2e-3 * (1 + seed)}]]
    quality = [[0, {"quality": 0.2}], [5, {"quality": 0.4 + 0.2 * seed}], [10, {"quality": None}]]
    slow = {name: [None if v is None else 0.5 * v for v in values] for name, values in part.items()}
    return {"steps": STEPS, "primary": part, "auxiliary": slow, "terms": terms, "quality": quality}


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    folder = make_store(seeds=(0, 1), count=40, tasks=(TASK, "pocket-code"))
    for seed in (0, 1):
        (folder / "runs" / f"bilora-{TASK}-s{seed}" / "dynamics.json").write_text(json.dumps(record(seed)))
    return load_store(folder)


def drawn(store: Store) -> dict[str, Drawing]:
    drawings = draw_task(store, TASK, build_comparison(store, TASK), build_sharpness(store, TASK))
    return {drawing.name.removesuffix(f"-{TASK}"): drawing for drawing in drawings}


def curves(drawing: Drawing, panel: int = 0) -> list[list[list[float]]]:
    blue = method_style("bilora").colour
    lines = drawing.figure.axes[panel].lines
    return [np.asarray(line.get_xydata()).tolist() for line in lines if to_hex(line.get_color()) == blue]


def test_convergence_has_a_panel_a_factor_with_both_adapters(store: Store) -> None:
    drawing = drawn(store)["convergence"]
    first, second = (curves(drawing, panel) for panel in (0, 1))
    assert np.allclose(first[0], [[0, 0.8], [5, 0.905], [10, 1.0]])
    assert np.allclose(first[1], [[0, 0.4], [5, 0.4525], [10, 0.5]])
    assert np.allclose(second[0], [[5, 0.55], [10, 1.0]])
    assert [axes.get_title(loc="left") for axes in drawing.figure.axes] == ["Factor A", "Factor B"]
    assert "Bi-LoRA" in drawing.alt


def test_the_second_order_term_is_a_ratio_without_its_empty_first_step(store: Store) -> None:
    drawing = drawn(store)["second-order"]
    assert np.allclose(curves(drawing)[0], [[5, 1.5e-3]])
    assert drawing.figure.axes[0].get_yscale() == "log"
    assert [line.get_ydata()[0] for line in drawing.figure.axes[0].lines][-1] == 1e-4


def test_capture_is_drawn_and_tabled_where_it_was_stored(store: Store) -> None:
    assert np.allclose(curves(drawn(store)["capture"])[0], [[0, 0.2], [5, 0.5]])
    table = capture_table(store)
    assert table is not None
    ((line,),) = (group.lines for group in table.groups)
    assert [cell.value for cell in line.cells] == pytest.approx([0.35, 0.2, 0.5])


def test_malformed_dynamics_cost_their_figures_alone(store: Store) -> None:
    path = store.folder / "runs" / f"bilora-{TASK}-s0" / "dynamics.json"
    path.write_text(json.dumps(record(0) | {"steps": [0, 5]}))
    again = load_store(store.folder)
    assert "dynamics.json: primary.A needs 2 values, one for each step" in str(again.problems[0])
    assert "convergence" in drawn(again)
    assert capture_table(load_store(store.folder)) is not None


def test_nothing_recorded_is_nothing_drawn(make_store: MakeStore) -> None:
    assert not {"convergence", "second-order", "capture"} & set(drawn(load_store(make_store(count=20))))


def test_intervals_are_those_of_the_paired_seeds(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1, 2), count=10, tasks=(TASK, "pocket-code"))
    shares = {"lora": (0.2, 0.3, 0.25), "bilora": (0.5, 0.45, 0.6), "lora-sam": (0.2, 0.4, 0.3)}
    for method, values in shares.items():
        for seed, value in enumerate(values):
            for task in (TASK, "pocket-code"):
                path = folder / "runs" / f"{method}-{task}-s{seed}" / "examples.json"
                path.write_text(json.dumps([e | {"score": value} for e in json.loads(path.read_text())]))
    store = load_store(folder)
    low, high = stats.ttest_rel(shares["bilora"], shares["lora"]).confidence_interval(0.95)
    found = interval_rows(store, "bilora")
    # Both tasks have the same differences, so their mean has the interval of either.
    assert list(found) == [TASK, "pocket-code", "all tasks"]
    for measured in found.values():
        assert (measured.low, measured.high) == (pytest.approx(low), pytest.approx(high))
    drawings = draw_summary(store, {task: build_comparison(store, task) for task in store.tasks}, {})
    over_tasks = ["intervals", "pareto", "training", "slices-in-full", "slices-in-lora"]
    assert [drawing.name for drawing in drawings] == over_tasks
    panels = drawings[0].figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["LoRA-SAM", "Bi-LoRA"]
    assert panels[0].get_xlim() == panels[1].get_xlim()
    segment = panels[1].containers[0][2][0].get_segments()[0][:, 0]
    assert segment.tolist() == [pytest.approx(100 * low), pytest.approx(100 * high)]


def test_one_task_has_no_figures_over_tasks(one_seed: Path) -> None:
    store = load_store(one_seed)
    assert draw_summary(store, {TASK: build_comparison(store, TASK)}, {}) == ()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9))
def test_the_front_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    kept = {points[place] for place in front(points)}
    for point in points:
        beaten = any(c <= point[0] and s >= point[1] and (c, s) != point for c, s in points)
        assert (point in kept) != beaten


@pytest.mark.parametrize("name", ["cost", "pareto"])
def test_labels_of_crowded_points_do_not_overlap(make_store: MakeStore, name: str) -> None:
    folder = make_store(seeds=(0, 1), count=60, tasks=(TASK, "pocket-code"))
    for path in (folder / "runs").glob("*/run.json"):
        record = json.loads(path.read_text())
        # All methods at nearly the same place.
        record["row"] |= {"step_gradients": 1.0 + 0.001 * len(record["row"]["method"]), "score": 0.7}
        path.write_text(json.dumps(record))
    store = load_store(folder)
    rows = {task: build_comparison(store, task) for task in store.tasks}
    drawing = drawn(store)["cost"] if name == "cost" else {d.name: d for d in draw_summary(store, rows, {})}["pareto"]
    figure = drawing.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [note.get_window_extent(renderer) for note in figure.axes[0].texts if note.get_text()]
    assert len(boxes) == 3
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])
        assert figure.bbox.contains(box.x0, box.y0)
        assert figure.bbox.contains(box.x1, box.y1)
