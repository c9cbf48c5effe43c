"""The presets against the paper: every experiment has one, every published number is beside one."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import reports
from benchmarks.choices import read_choices
from benchmarks.errors import UsageError
from benchmarks.presets import canonical_names, find_preset, sources
from benchmarks.request import read_request
from bilora.methods import METHODS
from bilora.methods.options import option_names

EXPERIMENTS = (
    [f"Table {n}" for n in (*range(1, 8), *(f"A{n}" for n in (*range(1, 8), *range(14, 20))))]
    + [f"Figure {n}" for n in (2, 3, 4, 5, 6, "A1", "A3", "A4")]
)  # fmt: skip


def published() -> list[dict[str, str]]:
    with (Path(reports.__file__).parent / "published.csv").open() as stream:
        return list(csv.DictReader(stream))


def beside() -> set[tuple[str, str, str, str]]:
    """Table, model, task and method of all rows that stand beside a run of some preset."""
    found = set()
    for name in canonical_names():
        preset = find_preset(name)
        for comparison in read_request(["--preset", name]).comparisons:
            settings, part = comparison.settings, comparison.part
            assert part is not None
            for choice in read_choices(settings.methods, quantize=settings.quantize, options=settings.options):
                method = part.names.get(choice.label, choice.label.removesuffix("+lora"))
                found |= {(rows.table, rows.model, rows.task, method) for rows in preset.published}
    return found


def test_every_experiment_of_the_paper_has_a_preset() -> None:
    assert set(sources()) == set(EXPERIMENTS)


def test_every_published_number_stands_beside_a_run() -> None:
    # Means over tasks are taken from their own numbers.
    rows = {(r["table"], r["model"], r["task"], r["method"]) for r in published() if r["task"] != "average"}
    assert rows - beside() == set()


@pytest.mark.parametrize("name", canonical_names())
def test_the_rows_that_a_preset_names_exist(name: str) -> None:
    known = {(r["table"], r["model"], r["task"]) for r in published()}
    metrics = {(r["table"], r["task"], r["metric"]) for r in published()}
    preset = find_preset(name)
    for rows in preset.published:
        assert (rows.table, rows.model, rows.task) in known
        assert rows.metric is None or (rows.table, rows.task, rows.metric) in metrics
        assert f"Table {rows.table}" in preset.source


@pytest.mark.parametrize("name", canonical_names())
def test_what_is_our_choice_names_options_that_exist(name: str) -> None:
    for key, reason in find_preset(name).our_choice.items():
        method, dot, option = key.partition(".")
        if dot and method in METHODS:
            assert option in option_names(METHODS[method].options_class)
        assert len(reason) > 10


def test_hyper_parameters_are_the_paper_s() -> None:
    def settings(name: str, task: str, method: str) -> tuple[object, ...]:
        own = read_request(["--preset", name]).comparisons[0].settings_of(task, method)
        rho = own.options.get(method, {}).get("rho")
        return own.rank, own.alpha, own.learning_rate, rho, own.batch_size, own.micro_batch_size, own.seeds, own.warmup

    assert settings("tableA2-t5-glue", "glue-cola", "bilora") == (8, 16, 5e-4, 0.05, 32, None, 3, 0.03)
    assert settings("tableA2-t5-glue", "glue-cola", "lora-sam")[3] == 0.01
    assert settings("tableA2-t5-glue", "glue-cola", "full-ft")[2] == 1e-4
    assert settings("tableA3-t5-superglue", "superglue-cb", "bilora") == (8, 16, 5e-4, 0.1, 32, None, 20, 0.03)
    assert settings("tableA3-t5-superglue", "superglue-rte", "lora-sam")[3:7] == (0.05, 32, None, 5)
    assert settings("table1-llama2-math", "metamathqa", "bilora") == (8, 16, 5e-4, 0.05, 32, 4, 3, 0.03)
    assert settings("table1-llama31-alpaca", "alpaca-cleaned", "bilora") == (8, 16, 3e-4, 0.05, 128, 4, 3, 0.03)
    assert settings("table1-llama31-alpaca", "alpaca-cleaned", "full-ft")[2] == 5e-5
    assert settings("table2-qwen25-alpaca", "alpaca-cleaned", "bilora") == (8, 16, 5e-5, 0.1, 128, 4, 3, 0.03)
    assert settings("table2-qwen25-alpaca", "alpaca-cleaned", "lora-esam")[3] == 0.05
    assert settings("table3-sdxl-icons", "dreambooth-3d-icons", "bilora") == (4, 8, 2e-4, 0.05, 4, 1, 3, 0.0)


def test_one_set_of_runs_is_found_by_every_table_it_gives() -> None:
    assert find_preset("tableA17-llama31-cost") is find_preset("table1-llama31-alpaca")
    assert find_preset("table7-llama31-cost").name == "table1-llama31-alpaca"


def test_an_unknown_name_is_answered_by_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'table1-llama2-math'\?; known: table1-llama2-chat, "):
        find_preset("table1-lama2-math")


def test_names_are_in_the_order_of_the_paper() -> None:
    names = canonical_names()
    assert names[0].startswith("table1-")
    assert names.index("tableA7-t5-auxiliary-rate") < names.index("tableA19-llama31-rank")
    assert names[-1].startswith("figureA1-")
