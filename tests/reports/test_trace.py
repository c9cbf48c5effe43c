"""Every number on a page is traced to the runs' JSON, by a second computation that shares no code with `reports`.

Covered: each cell of each table (its printed digits, its error or bounds, the full-precision value it sorts by), each
sentence, caption, text alternative, column definition and heading, the list of runs, and the data that runs unfold to
(`test_drilldown`). Markdown is held to the page cell by cell and sentence by sentence. A cell is checked at its place;
a sentence's numbers must each be a value of its own section. Bounds from resampling are met by a bootstrap of our own
within a tenth of the interval's width. Not covered: ticks inside drawings, whose lines and points `test_figures`,
`test_recorded_figures`, `test_landscape_figures` and `test_sensitivity` compare with the files.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from reports.page import html_page, markdown_page
from reports.sections import build_section, build_summary, run_detail
from reports.store import load_store
from tests.reports.conftest import write_store
from tests.reports.traced import LABELS, SPACES, Number, Printed, Truth, numbers
from tests.reports.traced_values import (
    COUNT,
    SEEDS,
    TASKS,
    Key,
    Values,
    aggregate_cells,
    comparison_cells,
    cost_cells,
    overview_cells,
    pools,
    sharpness_cells,
)

#: Phrases whose digits are no measurement: levels of tests and intervals, names of publications, what stands at zero.
CONSTANT = (
    r"95 %", r"at 5 %", r"below 5 %", r"et al\., \d{4}", r"Table A\d+", r"cannot carry 95", r"at most 60 records",
    r"keep four digits",
)  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, Printed, str]:
    folder = tmp_path_factory.mktemp("traced")
    write_store(folder / "store", seeds=SEEDS, tasks=TASKS, failed=("lora-sam",), count=COUNT)
    store = load_store(folder / "store")
    sections = [build_section(store, task) for task in store.tasks]
    summary = build_summary(store, sections)
    page = html_page(store, summary, sections, [run_detail(run) for run in store.runs])
    return Truth(folder / "store"), Printed(page), markdown_page(store, summary, sections)


@pytest.fixture(scope="module")
def expected(rendered: tuple[Truth, Printed, str]) -> dict[Key, Values]:
    truth = rendered[0]
    cells: dict[Key, Values] = {}

    def put(table: str, group: str, method: str, found: dict[str, Values]) -> None:
        cells.update({(table, group, LABELS[method], head): values for head, values in found.items()})

    for method in LABELS:
        put("overview", "", method, overview_cells(truth, method))
        put("aggregates", "", method, aggregate_cells(truth, method))
    for task, method in truth.everything():
        put(f"comparison-{task}", "", method, comparison_cells(truth, task, method))
        put("cost", task, method, cost_cells(truth, task, method))
        for space, heading in SPACES.items():
            dimension = truth.space(task, method, space)[0]["dimension"]
            group = f"{heading}, {dimension:,} coordinates"
            put(f"sharpness-{task}", group, method, sharpness_cells(truth, task, method, space))
    return cells


#: Columns that sort by the stored unit and are printed in another: shares of one, bytes.
UNITS = {("overview", name): 0.01 for name in (*TASKS, "Average")}
UNITS |= {("comparison", name): 0.01 for name in ("Exact match", "Difference to LoRA", "Train exact match")}
UNITS |= {("comparison", "Peak memory"): 2.0**30}


def test_every_cell_of_every_table_is_a_second_computation(
    rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]
) -> None:
    found = rendered[1].cells
    assert set(found) == set(expected)
    checked = 0
    for key, values in expected.items():
        shown = numbers(found[key]["text"]) + numbers(found[key]["small"])
        assert len(shown) == len(values), (key, found[key], values)
        for number, (value, slack) in zip(shown, values, strict=True):
            assert number.shows(value, slack), (key, number.text, value)
        if values:
            full = values[0][0] * UNITS.get((key[0].split("-")[0], key[3]), 1.0)
            assert float(found[key]["value"]) == pytest.approx(full, rel=1e-9, abs=1e-12), key
        else:
            assert found[key]["text"] in ("baseline", "—"), key
        checked += len(shown)
    # Three methods, two tasks, two spaces: nothing fell out of the parser.
    assert len(found) == 3 * (5 + 5) + 2 * 3 * (10 + 5) + 2 * 2 * 3 * 7
    assert checked > 380


def verbatim(truth: Truth) -> set[str]:
    """Return the texts that a page repeats as they are stored."""
    created = datetime.fromisoformat(truth.plan["created"])
    texts = {truth.plan["command"], f"{created.day} {created:%B %Y, %H:%M} UTC"}
    texts |= {*truth.plan["conventions"].values(), *truth.plan["environment"].values()}
    failures = [json.loads(path.read_text()) for path in (truth.folder / "failed").glob("*.json")]
    return texts | {f"failed in {failure['stage']}: {failure['message']}" for failure in failures}


def unexplained(text: str, allowed: Values) -> list[Number]:
    for phrase in CONSTANT:
        text = re.sub(phrase, "", text)
    return [n for n in numbers(text) if not any(n.shows(value, slack) for value, slack in allowed)]


def test_every_number_of_every_sentence_is_a_value_of_its_section(
    rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]
) -> None:
    truth, page, _ = rendered
    known, stored = pools(truth, expected), verbatim(truth)
    checked = 0
    for section, text in page.words:
        if text in stored:
            continue
        rest = unexplained(text, known.get(section, []))
        assert not rest, (section, text, [number.text for number in rest])
        checked += len(numbers(text))
    assert checked > 150


def test_markdown_says_what_the_page_says(rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]) -> None:
    truth, page, markdown = rendered
    known, stored = pools(truth, expected), verbatim(truth)
    everything = [value for values in known.values() for value in values]
    rows = [line for line in markdown.splitlines() if re.match(r"\| (LoRA|LoRA-SAM|Bi-LoRA) \|", line)]
    on_page: dict[tuple[str, str, str], list[str]] = {}
    for (table, group, label, _), cell in page.cells.items():
        shown = numbers(cell["text"]) + numbers(cell["small"])
        on_page.setdefault((table, group, label), []).extend(number.text for number in shown)
    assert [[number.text for number in numbers(row)] for row in rows if "failed in" not in row] == list(
        on_page.values()
    )
    for line in markdown.splitlines():
        text = re.sub(r"\]\(figures/\S+\)", "", line)
        if line.startswith("| ") or any(sentence in text.replace("\\", "") for sentence in stored):
            continue
        assert not unexplained(text, everything), line


def test_a_number_from_nowhere_is_found(rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]) -> None:
    truth = rendered[0]
    known = pools(truth, expected)["pocket-math"]
    score = 100 * truth.column("pocket-math", "bilora", "score").mean()
    assert not unexplained(f"Bi-LoRA scores {score:.1f} %, 95 % interval", known)
    assert [n.text for n in unexplained(f"Bi-LoRA scores {score + 0.3:.1f} %, 95 % interval", known)] == [
        f"{score + 0.3:.1f}"
    ]
    assert [n.text for n in numbers("−1,234.5 to 2×10⁻⁴ in s0 and A6")] == ["−1,234.5", "2×10⁻⁴"]
    assert numbers("2×10⁻⁴")[0].shows(0.000249)
    assert not numbers("2×10⁻⁴")[0].shows(0.000251)
