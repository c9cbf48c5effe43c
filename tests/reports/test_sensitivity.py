"""Score against radius and rank: which runs make a curve, its intervals, and what is drawn of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.figures.canvas import sheet
from reports.figures.sensitivity import draw_sensitivity
from reports.sensitivity import sensitivity
from reports.store import Store, load_store
from reports.style import task_look
from tests.reports.test_settings import add_run, collection

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def set_score(folder: Path, key: str, score: float) -> None:
    path = folder / "runs" / key / "run.json"
    record = json.loads(path.read_text())
    record["row"]["score"] = score
    record["spec"]["rank"] = 8
    path.write_text(json.dumps(record))


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    folder = collection(make_store(seeds=(0, 1, 2), count=20))
    # A run that differs in more than the radius is no point of the curve.
    add_run(folder, "bilora", 0, "other", options={"rho": 0.3}, learning_rate=0.5)
    for seed in range(3):
        add_run(folder, "bilora", seed, f"wide-{seed}", options={"rho": 0.2})
        add_run(folder, "bilora", seed, f"flat-{seed}", options={"rho": 0.05, "auxiliary_rank": 2})
        add_run(folder, "bilora", seed, f"own-{seed}", options={"rho": 0.05, "auxiliary_rank": None})
        (folder / "runs" / f"bilora-{TASK}-s{seed}" / "run.json").unlink()
        for name, base in ((f"wide-{seed}", 0.5), (f"flat-{seed}", 0.3), (f"own-{seed}", 0.6)):
            set_score(folder, name, base + 0.1 * seed)
            if not name.startswith("own"):
                (folder / "runs" / name / "measurement.json").unlink()
    return load_store(folder)


def test_a_curve_has_the_settings_that_differ_in_the_option_alone(store: Store) -> None:
    points = sensitivity(store, "bilora", "rho")[TASK]
    assert [(point.value, point.seeds) for point in points] == [(0.05, 3), (0.2, 3)]
    assert [point.score for point in points] == pytest.approx([0.7, 0.6])
    low, high = stats.t.interval(0.95, 2, loc=0.6, scale=stats.sem([0.5, 0.6, 0.7]))
    assert (points[1].low, points[1].high) == (pytest.approx(low), pytest.approx(high))


def test_an_auxiliary_without_a_rank_of_its_own_has_the_primary_s(store: Store) -> None:
    points = sensitivity(store, "bilora", "auxiliary_rank")[TASK]
    assert [(point.value, pytest.approx(point.score)) for point in points] == [(2.0, 0.4), (8.0, 0.7)]


def test_points_share_their_seeds(store: Store) -> None:
    add_run_seed(store.folder, "wide-0", "wide-3", seed=3, score=0.0)
    points = sensitivity(load_store(store.folder), "bilora", "rho")[TASK]
    assert points[1].score == pytest.approx(0.6)


def add_run_seed(folder: Path, source: str, name: str, *, seed: int, score: float) -> None:
    target = folder / "runs" / name
    target.mkdir()
    for path in (folder / "runs" / source).iterdir():
        (target / path.name).write_text(path.read_text())
    record = json.loads((target / "run.json").read_text())
    record["key"] = name
    record["row"] |= {"seed": seed, "score": score}
    (target / "run.json").write_text(json.dumps(record))


def test_the_figure_has_a_panel_an_option_and_a_line_a_task(store: Store) -> None:
    with sheet():
        drawing = draw_sensitivity(store, "sensitivity")
    assert drawing is not None
    axes = drawing.figure.axes
    assert [panel.get_xlabel() for panel in axes] == ["rank of the auxiliary", "radius ρ"]
    for panel, option in zip(axes, ("auxiliary_rank", "rho"), strict=True):
        points = sensitivity(store, "bilora", option)[TASK]
        marker, _, (bars,) = panel.containers[0].lines
        assert marker.get_color() == task_look(0)["color"]
        np.testing.assert_allclose(marker.get_xydata(), [[point.value, 100 * point.score] for point in points])
        ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
        np.testing.assert_allclose(ends, [[100 * point.low, 100 * point.high] for point in points])
        # The baseline of the same task, dashed.
        scores = [run.row["score"] for run in store.runs_of(TASK, "lora")]
        np.testing.assert_allclose(panel.lines[-1].get_ydata(), [100 * np.mean(scores)] * 2)
        assert panel.get_xscale() == "log"


def test_one_setting_is_no_curve(one_seed: Path) -> None:
    assert draw_sensitivity(load_store(one_seed), "sensitivity") is None


def test_parts_of_a_preset_side_by_side_are_one_collection(make_store: MakeStore, tmp_path: Path) -> None:
    for name, rho in (("rho-0.05", 0.05), ("rho-0.2", 0.2)):
        folder = make_store(f"figure6/{name}", seeds=(0, 1), count=20)
        for path in sorted((folder / "runs").iterdir()):
            record = json.loads((path / "run.json").read_text())
            record["key"] = f"{path.name}-{rho}"
            record["spec"]["options"] = {"rho": rho} if "bilora" in path.name else {}
            (path / "run.json").write_text(json.dumps(record))
            path.rename(path.with_name(record["key"]))
    store = load_store(tmp_path / "figure6")
    assert [point.value for point in sensitivity(store, "bilora", "rho")[TASK]] == [0.05, 0.2]
