"""The pages of methods, variants, tasks and presets hold every entry of their registries."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from benchmarks.claims.board import readme_table, summary
from benchmarks.presets import canonical_names
from benchmarks.tasks import DATA_TASKS, TASKS
from bilora.methods import METHODS
from bilora.variants import VARIANTS
from docs.pages import board, registries


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (registries.methods_page, METHODS),
        (registries.variants_page, VARIANTS),
        (registries.presets_page, canonical_names()),
    ],
)
def test_every_entry_has_a_heading(page: object, names: object) -> None:
    headings = [line.removeprefix("## ") for line in page().splitlines() if line.startswith("## ")]  # type: ignore[operator]
    assert headings == list(names)  # type: ignore[call-overload]


def test_every_option_of_a_method_is_there_with_its_default() -> None:
    text = registries.methods_page()
    for cls in METHODS.values():
        assert all(f"| `{entry.name}` |" in text for entry in fields(cls.options_class))
    assert "| `rho` | `0.05` |" in text


def test_every_task_is_there_with_its_recipe() -> None:
    text = registries.tasks_page()
    assert all(f"| `{name}` |" in text for name in (*TASKS, *DATA_TASKS))


def test_bars_and_stars_of_cells_do_not_end_them() -> None:
    assert registries.table(("a",), [("|w| * x",)]).splitlines()[2] == r"| \|w\| \* x |"


def test_the_page_of_claims_shows_the_committed_board() -> None:
    record = json.loads(board.RESULTS.read_text())
    text = board.claims_page(record)
    assert readme_table(record) in text
    assert summary(record) in text
