"""Figures of robustness, densities and surfaces, and of slices and losses over tasks, against the stored numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.contour import QuadContourSet

from reports.aggregates import build_aggregates
from reports.comparison import build_comparison
from reports.figures import Drawing, draw_summary, draw_task
from reports.figures.canvas import save
from reports.sharpness import build_sharpness
from reports.store import Store, load_store
from reports.style import method_style
from tests.reports.conftest import write_store
from tests.reports.landscape_store import DIMENSION, WIDTH, add_landscapes, landscapes

TASK, SPACES, SEEDS = "pocket-math", ("full", "lora"), (0, 1)
METHODS = ("lora", "lora-sam", "bilora")
MakeStore = Callable[..., Path]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("landscapes")
    return load_store(add_landscapes(write_store(folder, seeds=SEEDS, tasks=(TASK, "pocket-code"), count=20)))


@pytest.fixture(scope="module")
def drawings(store: Store) -> dict[str, Drawing]:
    drawn = draw_task(store, TASK, build_comparison(store, TASK), build_sharpness(store, TASK))
    return {drawing.name.removesuffix(f"-{TASK}"): drawing for drawing in drawn}


@pytest.fixture(scope="module")
def summary(store: Store) -> dict[str, Drawing]:
    rows = {task: build_comparison(store, task) for task in store.tasks}
    return {drawing.name: drawing for drawing in draw_summary(store, rows, build_aggregates(store, METHODS))}


def line(drawing: Drawing, panel: int, method: str, place: int = 0) -> np.ndarray:
    """Return the points of a method's line in a panel, by its colour."""
    colour = method_style(method).colour
    found = [line for line in drawing.figure.axes[panel].lines if to_hex(line.get_color()) == colour]
    return np.asarray(found[place].get_xydata())


def test_robustness_is_loss_and_score_by_space_over_seeds(drawings: dict[str, Drawing]) -> None:
    drawing = drawings["robustness"]
    for panel, (field, space) in enumerate((f, s) for f in ("losses", "metrics") for s in SPACES):
        for method in METHODS:
            stored = [landscapes(method, seed, space)["robustness"] for seed in SEEDS]
            mean = np.mean([record[field] for record in stored], axis=0) * (100 if field == "metrics" else 1)
            np.testing.assert_allclose(line(drawing, panel, method), np.column_stack([[0, 0.5, 1], mean]))
            assert len(drawing.figure.axes[panel].collections) == len(METHODS)
    assert [axes.get_ylabel() for axes in drawing.figure.axes[::2]] == ["loss (nats per token)", "exact match (%)"]
    assert "the first 64 test examples" in drawing.caption
    assert "Bi-LoRA reaches 1.57 at α = 1 in the full space" in drawing.alt


def test_robustness_without_a_score_is_one_row(make_store: MakeStore) -> None:
    folder = add_landscapes(make_store(count=20))
    for path in folder.glob("runs/*/measurement.json"):
        content = json.loads(path.read_text())
        for record in content["spaces"].values():
            record["robustness"]["metrics"] = None
        path.write_text(json.dumps(content))
    again = load_store(folder)
    drawn = draw_task(again, TASK, build_comparison(again, TASK), build_sharpness(again, TASK))
    (drawing,) = (drawing for drawing in drawn if drawing.name.startswith("robustness"))
    assert len(drawing.figure.axes) == 2
    assert "test examples" not in drawing.caption


def test_densities_are_laid_over_one_another_on_a_logarithmic_axis(drawings: dict[str, Drawing]) -> None:
    drawing = drawings["density"]
    single = 1 / (DIMENSION * WIDTH * math.sqrt(2 * math.pi))
    for panel, space in enumerate(SPACES):
        axes = drawing.figure.axes[panel]
        assert axes.get_yscale() == "log"
        assert axes.get_ylim()[0] == pytest.approx(0.1 * single)
        assert len(axes.lines) == len(METHODS) * len(SEEDS)
        for method in METHODS:
            record = landscapes(method, 1, space)["density"]
            expected = np.column_stack([record["grid"], record["density"]])
            np.testing.assert_allclose(line(drawing, panel, method, 1), expected)


def test_surfaces_share_levels_within_a_space_and_are_not_transposed(drawings: dict[str, Drawing]) -> None:
    drawing = drawings["surfaces"]
    maps = drawing.figure.axes[: len(SPACES) * len(METHODS)]
    assert [axes.get_title(loc="left") for axes in maps[:3]] == ["LoRA", "LoRA-SAM", "Bi-LoRA"]
    for row, space in enumerate(SPACES):
        levels = []
        for column, method in enumerate(METHODS):
            axes = maps[row * len(METHODS) + column]
            filled = next(found for found in axes.collections if isinstance(found, QuadContourSet))
            losses = np.array(landscapes(method, 0, space)["plane"]["losses"])
            np.testing.assert_allclose(np.ma.filled(filled.zmax), (losses - losses[2, 1]).max())
            # The first direction lies along x, with five positions; the second along y, with three.
            assert axes.get_xlim() == (-0.5, 0.5)
            assert axes.get_ylim() == (-0.25, 0.25)
            levels.append(tuple(filled.levels))
        assert len(set(levels)) == 1
    assert "seed 0" in drawing.caption


def test_no_seed_with_all_methods_means_no_surfaces(make_store: MakeStore) -> None:
    folder = add_landscapes(make_store(seeds=(0, 1), count=20))
    for key in (f"lora-{TASK}-s0", f"bilora-{TASK}-s1"):
        path = folder / "runs" / key / "measurement.json"
        content = json.loads(path.read_text())
        for record in content["spaces"].values():
            del record["plane"]
        path.write_text(json.dumps(content))
    again = load_store(folder)
    drawn = draw_task(again, TASK, build_comparison(again, TASK), build_sharpness(again, TASK))
    assert not [drawing for drawing in drawn if drawing.name.startswith("surfaces")]


def test_a_plane_with_gaps_is_drawn_and_one_without_a_centre_is_not(make_store: MakeStore) -> None:
    folder = add_landscapes(make_store(count=20))

    def spoil(key: str, row: int, column: int) -> Drawing | None:
        path = folder / "runs" / key / "measurement.json"
        content = json.loads(path.read_text())
        for record in content["spaces"].values():
            record["plane"]["losses"][row][column] = None
        path.write_text(json.dumps(content))
        again = load_store(folder)
        drawn = draw_task(again, TASK, build_comparison(again, TASK), build_sharpness(again, TASK))
        return next((drawing for drawing in drawn if drawing.name.startswith("surfaces")), None)

    corner = spoil(f"lora-{TASK}-s0", 0, 0)
    assert corner is not None
    assert [axes.get_title(loc="left") for axes in corner.figure.axes[:3]] == ["LoRA", "LoRA-SAM", "Bi-LoRA"]
    centre = spoil(f"lora-{TASK}-s0", 2, 1)
    assert centre is not None
    assert [axes.get_title(loc="left") for axes in centre.figure.axes[:2]] == ["LoRA-SAM", "Bi-LoRA"]


def test_a_malformed_plane_costs_the_measurement_and_is_named(make_store: MakeStore) -> None:
    folder = add_landscapes(make_store(count=20))
    path = folder / "runs" / f"lora-{TASK}-s0" / "measurement.json"
    content = json.loads(path.read_text())
    content["spaces"]["full"]["plane"]["betas"] = [0, 1]
    path.write_text(json.dumps(content))
    (problem,) = load_store(folder).problems
    assert "plane: expected 2 values, one for each position" in str(problem)


def test_slices_over_tasks_have_a_panel_a_task_and_a_band_over_seeds(store: Store, summary: dict[str, Drawing]) -> None:
    for space in SPACES:
        drawing = summary[f"slices-in-{space}"]
        assert [axes.get_title(loc="left") for axes in drawing.figure.axes] == list(store.tasks)
        for panel, task in enumerate(store.tasks):
            for place, method in enumerate(METHODS):
                by_seed = []
                for seed in SEEDS:
                    path = store.folder / "runs" / f"{method}-{task}-s{seed}" / "measurement.json"
                    cuts = json.loads(path.read_text())["spaces"][space]["slices"]
                    losses = np.array(cuts["losses"])
                    by_seed.append((losses - losses[:, [cuts["alphas"].index(0.0)]]).mean(axis=0))
                np.testing.assert_allclose(line(drawing, panel, method)[:, 1], np.mean(by_seed, axis=0))
                (band,) = drawing.figure.axes[panel].collections[place].get_paths()
                assert band.vertices[:, 1].max() == pytest.approx(np.max(by_seed))


def test_training_over_tasks_is_the_stored_validation_loss(store: Store, summary: dict[str, Drawing]) -> None:
    for panel, task in enumerate(store.tasks):
        for method in METHODS:
            histories = [
                json.loads((store.folder / "runs" / f"{method}-{task}-s{seed}" / "history.json").read_text())
                for seed in SEEDS
            ]
            rows = [[(r["step"], r["validation_loss"]) for r in h if "validation_loss" in r] for h in histories]
            np.testing.assert_allclose(line(summary["training"], panel, method), np.mean(rows, axis=0))


def test_aggregates_are_drawn_with_their_intervals(store: Store, summary: dict[str, Drawing]) -> None:
    axes = summary["aggregates"].figure.axes
    titles = ["Interquartile mean", "Median", "Mean", "Optimality gap", "Improvement"]
    assert [panel.get_title(loc="left") for panel in axes] == titles
    for place, method in enumerate(METHODS):
        scores = [[run.row["score"] for run in store.runs_of(task, method)] for task in store.tasks]
        marker, _, (bars,) = axes[2].containers[place].lines
        assert to_hex(marker.get_color()) == method_style(method).colour
        assert marker.get_xdata()[0] == pytest.approx(100 * np.mean(scores))
        assert marker.get_ydata()[0] == place
        low, high = bars.get_segments()[0][:, 0]
        assert low <= marker.get_xdata()[0] <= high
    # The baseline is not compared with itself.
    assert [container.lines[0].get_ydata()[0] for container in axes[4].containers] == [1, 2]
    assert axes[4].get_xlim() == (0, 1)


def test_every_figure_is_written_three_times(
    drawings: dict[str, Drawing], summary: dict[str, Drawing], tmp_path: Path
) -> None:
    heads = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    for name in ("robustness", "density", "surfaces"):
        for path in save(drawings[name], tmp_path):
            assert path.read_bytes().startswith(heads[path.suffix[1:]])
    for drawing in summary.values():
        assert drawing.caption.endswith(".")
        assert drawing.alt.endswith(".")
