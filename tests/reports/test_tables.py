"""Printed cells and CSV records against the rows they come from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.comparison import build_comparison
from reports.export import comparison_records, sharpness_records, write_csv
from reports.layout import Cell, Table
from reports.sharpness import build_sharpness
from reports.store import load_store
from reports.tables import comparison_table, sharpness_table

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def cells(table: Table, method: str, group: int = 0) -> dict[str, Cell]:
    line = next(line for line in table.groups[group].lines if line.method == method)
    return dict(zip((column.title for column in table.columns), line.cells, strict=True))


def test_comparison_cells_show_the_rows(one_seed: Path) -> None:
    rows = build_comparison(load_store(one_seed), TASK)
    found = cells(comparison_table(rows, "lora"), "bilora")
    row, pair = rows[2], rows[2].difference
    assert pair is not None
    assert found["Exact match"].line == f"{100 * row.values['score'].mean:.1f} (one seed)"
    interval = f"{100 * pair.interval.low:+.1f} to {100 * pair.interval.high:+.1f}"
    assert found["Difference to LoRA"].line == f"{100 * pair.difference:+.1f} ({interval})"
    assert found["Cost"].line == "1.14× (47.0 ms per step)"
    assert found["Train exact match"].line == "95.0"
    assert found["Train loss"].line == "0.110"
    assert found["Test loss"].line == "0.530"
    assert found["Gap"].line == "0.420"
    assert found["Gradients"].line == "200"
    assert found["Peak memory"].line == "1.42"
    assert found["‖ΔW‖ perturbed"].line == "0.0500"
    assert cells(comparison_table(rows, "lora"), "lora")["Difference to LoRA"].line == "baseline"


def test_several_seeds_show_their_standard_error(three_seeds: Path) -> None:
    rows = build_comparison(load_store(three_seeds), TASK)
    found = cells(comparison_table(rows, "lora"), "lora")
    error = rows[0].values["score"].standard_error
    assert error is not None
    assert found["Exact match"].detail == f"± {100 * error:.1f}, three seeds"
    assert found["Train loss"].detail == "± 0.0012"
    # Equal in all seeds: no spread is claimed.
    assert found["Gradients"].detail == ""


def test_holes_carry_their_reason(make_store: MakeStore) -> None:
    store = load_store(make_store(failed=("bilora",)))
    found = cells(comparison_table(build_comparison(store, TASK), "lora"), "bilora")
    sharp = cells(sharpness_table(build_sharpness(store, TASK)), "bilora")
    for cell in (*found.values(), *sharp.values()):
        assert (cell.text, cell.reason) == ("—", "failed in train: loss became NaN at step 40")


def test_sharpness_cells_show_the_rows(one_seed: Path) -> None:
    table = sharpness_table(build_sharpness(load_store(one_seed), TASK))
    assert [group.title for group in table.groups] == [
        "Full space (merged W), 1,228,800 coordinates",
        "LoRA space (A, B), balanced gauge, 61,440 coordinates",
    ]
    found = {title: cell.line for title, cell in cells(table, "lora").items()}
    assert found == {
        "λ max": "14.2 (residual 0.011)",
        "λ min": "−1.56 (residual 0.0012)",
        "Worst case, one step": "0.0454",
        "Worst case, ascent": "0.0568",
        "Average case": "5.68×10⁻⁴ (SE 5.7×10⁻⁵)",
        "Radius ρ": "0.05 (average 1)",
        "Products": "44",
    }
    assert cells(table, "lora", group=1)["λ max"].line == "42.6 (residual 0.034)"


@pytest.mark.parametrize("which", ["one_seed", "three_seeds"])
def test_csv_reads_back_to_the_exact_numbers(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = load_store(request.getfixturevalue(which))
    rows, sharp = build_comparison(store, TASK), build_sharpness(store, TASK)
    write_csv(tmp_path / "c.csv", comparison_records(rows))
    write_csv(tmp_path / "s.csv", sharpness_records(sharp))
    with (tmp_path / "c.csv").open() as stream:
        for record, row in zip(csv.DictReader(stream), rows, strict=True):
            assert float(record["score"]) == row.values["score"].mean
            error = row.values["score"].standard_error
            assert record["score_standard_error"] == ("" if error is None else repr(error))
            expected = "" if row.difference is None else repr(row.difference.interval.high)
            assert record["difference_high"] == expected
    with (tmp_path / "s.csv").open() as stream:
        for record, measured in zip(csv.DictReader(stream), sharp, strict=True):
            assert (record["space"], record["method"]) == (measured.space, measured.method)
            assert float(record["lambda_max"]) == measured.values["lambda_max"].mean
            assert float(record["lambda_max_residual"]) == measured.errors["lambda_max"]
            assert record["converged"] == "true"
