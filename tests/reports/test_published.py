"""Published numbers beside measured ones, from stores made by hand; `published.csv` is read a second way."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.published import Pair, build_published
from reports.published_file import PUBLISHED
from reports.render import render
from reports.store import Store, load_store

MakeStore = Callable[..., Path]
GLUE = {"table": "A2", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "score"}
TIMES = {"table": "A14", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "step-time"}


def with_preset(folder: Path, *published: dict[str, Any], **more: Any) -> Path:
    path = folder / "comparison.json"
    content = json.loads(path.read_text())
    content["preset"] = {"name": "tableA2-t5-glue", "part": "", "published": list(published), **more}
    path.write_text(json.dumps(content))
    return folder


def by_method(store: Store, task: str = "glue-cola") -> dict[str, Pair]:
    return {pair.method: pair for pair in build_published(store, task)}


def published(table: str, task: str, method: str, column: str = "value") -> float:
    with PUBLISHED.open() as stream:
        rows = [
            row for row in csv.DictReader(stream) if (row["table"], row["task"], row["method"]) == (table, task, method)
        ]
    return float(rows[0][column])


def scores(folder: Path, method: str) -> list[float]:
    paths = sorted(folder.glob(f"runs/{method}-glue-cola-s*/run.json"))
    return [json.loads(path.read_text())["row"]["score"] for path in paths]


def test_the_score_stands_beside_the_published_one_on_its_scale(make_store: MakeStore) -> None:
    folder = with_preset(make_store(tasks=("glue-cola",), seeds=(0, 1, 2)), GLUE)
    pair = by_method(load_store(folder))["bilora"]
    measured = [100 * score for score in scores(folder, "bilora")]
    assert pair.published is not None
    assert pair.published.value == published("A2", "cola", "bilora")
    assert pair.measured is not None
    assert pair.measured.mean == pytest.approx(statistics.mean(measured))
    assert pair.difference == pytest.approx(statistics.mean(measured) - published("A2", "cola", "bilora"))
    error = statistics.stdev(measured) / math.sqrt(3)
    theirs = published("A2", "cola", "bilora", "se")
    assert pair.difference_error == pytest.approx(math.sqrt(error**2 + theirs**2))


def test_costs_are_in_the_paper_s_units(make_store: MakeStore) -> None:
    memory = {"table": "7", "model": "Llama-3.1-8B", "task": "cleaned-alpaca", "metric": "peak-memory"}
    memory |= {"run": "glue-cola", "measured": "peak-memory"}
    folder = with_preset(make_store(tasks=("glue-cola",)), TIMES, memory)
    row = json.loads((folder / "runs" / "lora-glue-cola-s0" / "run.json").read_text())["row"]
    times, bytes_ = (pair for pair in build_published(load_store(folder), "glue-cola") if pair.method == "lora")
    assert times.measured is not None
    assert (times.measured.mean, times.unit) == (row["step_seconds"], "s")
    assert bytes_.measured is not None
    assert (bytes_.measured.mean, bytes_.unit) == (pytest.approx(row["peak_memory_bytes"] / 1e9), "GB")
    # One seed has no spread, so the difference has none either.
    assert times.difference_error is None


def test_what_either_side_has_not_is_a_hole_with_its_reason(make_store: MakeStore) -> None:
    folder = make_store(tasks=("glue-cola",), seeds=(0, 1), failed=("bilora",), absent=())
    for path in folder.glob("runs/bilora-*"):
        (path / "run.json").unlink()
    qwen = {"table": "4", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "score"}
    robust = {"table": "A6", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "robustness"}
    found = build_published(load_store(with_preset(folder, GLUE, qwen, robust)), "glue-cola")
    own = {pair.method: pair for pair in found if pair.table == "A2"}
    assert own["bilora"].measured is None
    assert own["bilora"].difference is None
    # The second seed's failure is noted, the first one's folder is broken.
    assert "run.json" in own["bilora"].reasons["measured"] or "NaN" in own["bilora"].reasons["measured"]
    foreign = {pair.method: pair for pair in found if pair.table == "4"}
    assert foreign["lora"].published is None
    assert foreign["lora"].reasons["published"] == "the paper prints no number for this method here"
    curves = [pair for pair in found if pair.table == "A6"]
    assert len({pair.metric for pair in curves}) == 12
    assert all("--landscape robustness" in pair.reasons["measured"] for pair in curves if pair.method == "lora")


def test_a_mean_is_never_taken_over_the_seeds_that_happen_to_have_a_value(make_store: MakeStore) -> None:
    folder = with_preset(make_store(tasks=("glue-cola",), seeds=(0, 1)), GLUE)
    path = folder / "runs" / "lora-glue-cola-s1" / "run.json"
    record = json.loads(path.read_text())
    record["row"]["score"] = None
    path.write_text(json.dumps(record))
    pair = by_method(load_store(folder))["lora"]
    assert pair.measured is None
    assert "score" in pair.reasons["measured"]


def test_names_lead_to_the_published_method(make_store: MakeStore) -> None:
    entry = {"table": "A4", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "score"}
    folder = with_preset(make_store(tasks=("glue-cola",)), entry, names={"bilora": "bilora(rho=0.2)"})
    pair = by_method(load_store(folder))["bilora"]
    assert pair.published is not None
    assert pair.published.value == published("A4", "cola", "bilora(rho=0.2)")


def test_scores_of_the_harness_are_those_beside_the_run(make_store: MakeStore) -> None:
    entry = {"table": "1", "model": "Llama-2-7B", "task": "gsm8k", "run": "metamathqa", "measured": "lm-eval"}
    folder = with_preset(make_store(tasks=("metamathqa",)), entry)
    for run, found in (("bilora", {"value": 0.5}), ("lora-sam", {"value": 0.9, "limit": 10})):
        path = folder / "runs" / f"{run}-metamathqa-s0" / "lm-eval.json"
        path.write_text(json.dumps({"gsm8k": {"metric": "exact_match", "standard_error": 0.01, **found}}))
    found = by_method(load_store(folder), "metamathqa")
    assert found["bilora"].difference == pytest.approx(50.0 - published("1", "gsm8k", "bilora"))
    # A part of the examples is not what the paper prints.
    for method in ("lora", "lora-sam"):
        assert found[method].reasons["measured"].endswith("has not been scored on all of gsm8k (--score gsm8k)")


def test_scores_under_a_step_along_the_gradient_are_read_from_the_curves(make_store: MakeStore) -> None:
    entry = {"table": "A6", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "robustness"}
    folder = with_preset(make_store(tasks=("glue-cola",), seeds=(0, 1)), entry)
    for seed in (0, 1):
        path = folder / "runs" / f"bilora-glue-cola-s{seed}" / "measurement.json"
        content = json.loads(path.read_text())
        curve = {"alphas": [0.0, 0.5, 1.0], "losses": [0.1, 0.2, 0.3], "metrics": [0.6, 0.5 + 0.1 * seed, None]}
        content["spaces"]["full"]["robustness"] = curve
        path.write_text(json.dumps(content))
    found = {(pair.method, pair.metric): pair for pair in build_published(load_store(folder), "glue-cola")}
    pair = found["bilora", "matthews under worst-case alpha=0.5 in full space"]
    assert pair.measured is not None
    assert pair.measured.mean == pytest.approx(55.0)
    assert pair.published is not None
    assert pair.published.value == 56.29
    under_attack = "matthews under worst-case alpha={} in {} space"
    for method, alpha, space in (("bilora", "1.0", "full"), ("bilora", "0.5", "lora"), ("lora", "0", "full")):
        lacking = found[method, under_attack.format(alpha, space)]
        assert "--landscape robustness" in lacking.reasons["measured"]


def test_the_report_shows_both_and_their_difference(make_store: MakeStore) -> None:
    folder = with_preset(make_store(tasks=("glue-cola",)), GLUE, TIMES)
    result = render(folder)
    row = json.loads((folder / "runs" / "lora-glue-cola-s0" / "run.json").read_text())["row"]
    markdown = result.markdown.read_text()
    assert "preset tableA2-t5-glue" in markdown
    mean = 100 * row["score"]
    difference = f"{mean - 59.41:+.2f}".replace("-", "\N{MINUS SIGN}")
    assert f"| LoRA | 59.41 (± 0.52) | {mean:.2f} (one seed) | {difference} |" in markdown
    assert "other machines" in markdown
    page = result.page.read_text()
    assert "Published and measured" in page
    table = folder / "report" / "tables" / "published-glue-cola.csv"
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(r["table"], r["method"]) for r in rows} == {
        (t, m) for t in ("A2", "A14") for m in ("lora", "lora-sam", "bilora")
    }
    assert float(rows[0]["difference"]) == pytest.approx(mean - 59.41)


def test_without_a_preset_there_is_no_such_table(one_seed: Path) -> None:
    assert build_published(load_store(one_seed), "pocket-math") == ()


def test_clip_s_scores_stand_beside_the_published_ones_or_say_which_model_was_missing(make_store: MakeStore) -> None:
    icons = {"table": "3", "model": "SDXL", "task": "3d-icons", "run": "glue-cola", "measured": "clip"}
    folder = with_preset(
        make_store(tasks=("glue-cola",)), icons | {"metric": "clip-i2t"}, icons | {"metric": "clip-t2t"}
    )
    for path in folder.glob("runs/lora-glue-cola-s0/run.json"):
        record = json.loads(path.read_text())
        record["row"] |= {"score_parts": "I2T", "I2T_score": 0.3}
        path.write_text(json.dumps(record))
    pairs = {(p.metric, p.method): p for p in build_published(load_store(folder), "glue-cola")}
    own = pairs["clip-i2t", "lora"]
    assert own.measured is not None
    assert own.measured.mean == pytest.approx(30.0)
    assert own.difference == pytest.approx(30.0 - 32.43)
    assert "--caption-model" in pairs["clip-t2t", "lora"].reasons["measured"]
    assert "--clip-model" in pairs["clip-i2t", "bilora"].reasons["measured"]
    assert pairs["clip-i2t", "lora-sam"].reasons["published"] == "the paper prints no number for this method here"
