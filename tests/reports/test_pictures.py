"""What was drawn is shown as it was stored, and a broken file of pictures costs only itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.comparison import build_comparison
from reports.export import comparison_records
from reports.figures.canvas import inline_svg
from reports.figures.pictures import SHOWN, draw_pictures
from reports.render import render
from reports.store import load_store
from reports.tables import comparison_table

TASK, METHODS = "pocket-icons", ("lora", "lora-sam", "bilora")
MakeStore = Callable[..., Path]


def picture(method: str, index: int) -> np.ndarray:
    return np.full((3, 32, 32), 10 * METHODS.index(method) + index, dtype=np.uint8)


@pytest.fixture
def drawn(make_store: MakeStore) -> Path:
    folder = make_store(tasks=(TASK,), count=20)
    for run in (folder / "runs").iterdir():
        record = json.loads((run / "run.json").read_text())
        method = record["row"]["method"]
        record["row"] |= {"score_parts": "thing style", "thing_score": 0.75, "style_score": 0.5}
        record["row"]["loss_kind"] = "denoising"
        (run / "run.json").write_text(json.dumps(record))
        np.save(run / "pictures.npy", np.stack([picture(method, index) for index in range(20)]))
    return folder


def test_the_grid_holds_the_first_pictures_of_every_method(drawn: Path) -> None:
    store = load_store(drawn)
    drawing = draw_pictures(store, TASK, "pictures")
    assert drawing is not None
    panels = drawing.figure.axes
    assert len(panels) == 3 * SHOWN
    for row, method in enumerate(METHODS):
        (run,) = store.runs_of(TASK, method)
        for column in range(SHOWN):
            axes = panels[row * SHOWN + column]
            assert np.array_equal(axes.images[0].get_array(), picture(method, column).transpose(1, 2, 0))
            right = run.examples[column].score == 1.0
            assert axes.get_xlabel() == ("\N{BLACK CIRCLE}" if right else "\N{WHITE CIRCLE}")
    right = sum(example.score == 1.0 for example in store.runs_of(TASK, "bilora")[0].examples[:SHOWN])
    assert f"Bi-LoRA {right}" in drawing.alt
    assert 'href="data:image/png;base64' in inline_svg(drawing)


def test_parts_of_a_score_and_the_unit_of_the_loss_are_columns(drawn: Path) -> None:
    rows = build_comparison(load_store(drawn), TASK)
    table = comparison_table(rows, "lora")
    heads = [(column.title, column.unit) for column in table.columns]
    assert heads[2:4] == [("Thing", "%"), ("Style", "%")]
    assert ("Test loss", "v²") in heads
    assert [cell.text for cell in table.groups[0].lines[1].cells[2:4]] == ["75.0", "50.0"]
    record = comparison_records(rows)[0]
    assert (record["thing_score"], record["style_score"]) == (0.75, 0.5)


def test_stores_without_pictures_have_no_grid_and_broken_ones_are_named(drawn: Path, one_seed: Path) -> None:
    assert draw_pictures(load_store(one_seed), "pocket-math", "pictures") is None
    for run in (drawn / "runs").iterdir():
        (run / "pictures.npy").write_bytes(b"\x93NUMPY junk")
    store = load_store(drawn)
    assert draw_pictures(store, TASK, "pictures") is None
    assert any("pictures.npy cannot be read" in str(problem) for problem in store.problems)
    np.save(next((drawn / "runs").iterdir()) / "pictures.npy", np.zeros((4, 8, 8)))
    assert any("expected uint8" in str(problem) for problem in load_store(drawn).problems)


def test_pictures_without_an_example_are_left_out(drawn: Path) -> None:
    path = next((drawn / "runs").glob("bilora*/examples.json"))
    path.write_text(json.dumps(json.loads(path.read_text())[:3]))
    drawing = draw_pictures(load_store(drawn), TASK, "pictures")
    assert drawing is not None
    assert len(drawing.figure.axes) == 3 * 3
    assert "Judged right of 3:" in drawing.alt


def test_where_one_run_lost_its_titles_none_is_judged(drawn: Path) -> None:
    for run in (drawn / "runs").glob("bilora*"):
        (run / "drawn.json").write_text(json.dumps([{"title": f"cloud {n}", "prompt": "a cloud"} for n in range(4)]))
        (run / "examples.json").write_text("[]")
    drawing = draw_pictures(load_store(drawn), TASK, "pictures")
    assert drawing is not None
    assert len(drawing.figure.axes) == 3 * 4
    assert [axes.get_title() for axes in drawing.figure.axes[:4]] == [f"cloud {n}" for n in range(4)]
    assert {axes.get_xlabel() for axes in drawing.figure.axes} == {""}
    assert "udged right" not in drawing.caption + drawing.alt


def test_the_page_shows_the_grid(drawn: Path, tmp_path: Path) -> None:
    render(drawn, tmp_path / "report")
    assert 'id="pictures-pocket-icons"' in (tmp_path / "report" / "index.html").read_text()
    assert (tmp_path / "report" / "figures" / "pictures-pocket-icons.png").is_file()


def test_pictures_of_their_own_have_titles_and_no_verdicts(drawn: Path) -> None:
    titles = ["fluffy rabbit", "curly cloud"] * 6
    for run in (drawn / "runs").iterdir():
        (run / "drawn.json").write_text(json.dumps([{"title": title, "prompt": f"a {title}"} for title in titles]))
        np.save(run / "pictures.npy", np.stack([np.full((3, 256, 256), index, dtype=np.uint8) for index in range(12)]))
    drawing = draw_pictures(load_store(drawn), TASK, "pictures")
    assert drawing is not None
    panels = drawing.figure.axes
    assert len(panels) == 3 * SHOWN
    # Broken where a line would run into the next picture.
    assert [axes.get_title() for axes in panels[:3]] == ["fluffy\nrabbit", "curly cloud", "fluffy\nrabbit"]
    assert {axes.get_xlabel() for axes in panels} == {""}
    assert "udged right" not in drawing.caption + drawing.alt
    next((drawn / "runs").glob("bilora*/drawn.json")).write_text("junk")
    assert any("drawn.json" in str(problem) for problem in load_store(drawn).problems)
