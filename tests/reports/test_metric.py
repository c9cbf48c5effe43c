"""Scores under their metric's own name and on its own scale, wherever they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.comparison import build_comparison
from reports.export import comparison_records
from reports.figures import draw_task
from reports.metric import Metric, read_metric
from reports.page import html_page, markdown_page
from reports.sections import build_section, build_summary, run_detail
from reports.sharpness import build_sharpness
from reports.store import load_store
from reports.summary import verdicts
from reports.tables import comparison_table

TASK = "pocket-math"
PERCENT, TEN = Metric(name="exact match"), Metric(name="rubric score", full_marks=10)
MakeStore = Callable[..., Path]


@pytest.fixture
def rubric(make_store: MakeStore) -> Path:
    """A store whose task is scored on a rubric of ten points; the first example of every run has seven of them."""
    folder = make_store()
    for path in (folder / "runs").iterdir():
        record = json.loads((path / "run.json").read_text())
        record["row"] |= {"metric": TEN.name, "full_marks": TEN.full_marks}
        (path / "run.json").write_text(json.dumps(record))
        examples = json.loads((path / "examples.json").read_text())
        examples[0]["score"] = 0.7
        (path / "examples.json").write_text(json.dumps(examples))
    return folder


@pytest.mark.parametrize(
    ("value", "percent", "of_ten"),
    [
        (0.1844, "+18.4", "+1.84"),
        (-0.029, "−2.9", "−0.29"),
        (0.0, "0.0", "0.00"),
        (1e-17, "0.0", "0.00"),
        (0.0003, "+0.03", "+0.003"),
        (-0.0004, "−0.04", "−0.004"),
    ],
)
def test_differences_keep_their_sign_and_tell_zero_from_nearly_zero(value: float, percent: str, of_ten: str) -> None:
    assert PERCENT.difference(value) == percent
    assert TEN.difference(value) == of_ten


def test_scores_are_written_on_the_scale_of_their_metric() -> None:
    assert (PERCENT.title, PERCENT.mark(0.4765625), PERCENT.full_mark(1.0)) == ("Exact match", "47.7", "100.0 %")
    assert (TEN.title, TEN.mark(0.4765625), TEN.full_mark(1.0)) == ("Rubric score", "4.77", "10.00 of 10")
    assert Metric(name="pass@1").title == "Pass@1"


def test_rows_without_a_scale_are_per_cent_and_without_a_name_scores() -> None:
    assert read_metric({"metric": "pass@1"}) == Metric(name="pass@1", full_marks=100)
    assert read_metric({"metric": "rubric score", "full_marks": 10}) == TEN
    assert read_metric({}) == Metric(name="score", full_marks=100)


def test_a_correlation_is_no_percentage() -> None:
    correlation = Metric(name="Matthews correlation")
    assert correlation.full_mark(0.631) == "63.1 x 100"
    assert correlation.points == "points"


def test_a_table_is_headed_by_its_metric_and_counts_on_its_scale(rubric: Path) -> None:
    rows = build_comparison(load_store(rubric), TASK)
    table = comparison_table(rows, "lora")
    heads = [(column.title, column.unit) for column in table.columns]
    assert heads[0] == ("Rubric score", "of 10")
    assert heads[2] == ("Train rubric score", "of 10")
    assert "points of 10" in table.columns[1].definition
    assert table.caption == "Methods on pocket-math: rubric score, generalisation and cost."
    cells, row = table.groups[0].lines[2].cells, rows[2]
    assert row.difference is not None
    interval = row.difference.interval
    assert cells[0].text == f"{10 * row.values['score'].mean:.2f}"
    assert cells[1].text == f"{10 * row.difference.difference:+.2f}"
    assert cells[1].detail == f"{10 * interval.low:+.2f} to {10 * interval.high:+.2f}"
    assert cells[2].text == "9.50"


def test_words_and_files_follow(rubric: Path) -> None:
    rows = build_comparison(load_store(rubric), TASK)
    score = 10 * rows[2].values["score"].mean
    assert f"Bi-LoRA scores {score:.2f} of 10, +" in verdicts(rows, "lora")[1].sentence
    record = comparison_records(rows)[2]
    assert (record["metric"], record["full_marks"], record["score"]) == ("rubric score", 10, score / 10)


def test_the_figure_of_scores_names_the_metric_on_its_axis(rubric: Path, one_seed: Path) -> None:
    for folder, label, scale in (
        (rubric, "rubric score on test examples (of 10)", 10),
        (one_seed, "exact match on test examples (%)", 100),
    ):
        store = load_store(folder)
        rows = build_comparison(store, TASK)
        cost = draw_task(store, TASK, rows, build_sharpness(store, TASK))[0]
        (axes,) = cost.figure.axes
        assert axes.get_ylabel() == label
        heights = [container[0].get_ydata()[0] for container in axes.containers]
        assert heights == pytest.approx([scale * row.values["score"].mean for row in rows])
        interval = rows[0].score_interval
        assert interval is not None
        (bar,) = axes.containers[0][2][0].get_segments()
        assert bar[:, 1] == pytest.approx([scale * interval.low, scale * interval.high])


def test_page_and_markdown_show_it_and_say_how_far_a_partly_right_answer_came(rubric: Path) -> None:
    store = load_store(rubric)
    section, details = build_section(store, TASK), [run_detail(run) for run in store.runs]
    html, markdown = (
        html_page(store, build_summary(store, [section]), [section], details),
        markdown_page(store, build_summary(store, [section]), [section]),
    )
    assert "| Method | Rubric score, of 10 |" in markdown
    assert re.search(r">Rubric score<small>of 10</small>", html)
    # Answers stand in the data that runs unfold to: index, how right, and the places of the texts.
    assert html.count('[0,"Partly right, 7.00 of 10",') == len(store.runs)
    assert details[0].wrong[0].index == 0
