"""The page and its Markdown: well-formed, self-contained, escaped, and equal to the tables."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.comparison import build_comparison
from reports.cost_table import cost_table
from reports.overview import overview_table
from reports.page import escape_markdown, html_page, markdown_page
from reports.sections import build_section, build_summary, run_detail
from reports.sharpness import build_sharpness
from reports.store import Store, load_store
from reports.tables import comparison_table, sharpness_table

TASK = "pocket-math"
VOID = {"meta", "br", "hr", "img", "link", "input"}
ATTACK = '<script>alert("x")</script> | `a` [b](http://evil.example)'
#: The element that holds the runs' data.
DATA = {"type": "application/json", "id": "run-data"}
MakeStore = Callable[..., Path]


class Page(HTMLParser):
    """Checks nesting while it collects elements and, for each table, the text of its rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "small" and "tr" in self.open:
            self.rows[-1][-1] += "|"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def found(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def pages(folder: Path) -> tuple[str, str]:
    store = load_store(folder)
    sections = [build_section(store, task) for task in store.tasks]
    summary = build_summary(store, sections)
    details = [run_detail(run) for run in store.runs]
    return html_page(store, summary, sections, details), markdown_page(store, summary, sections)


@pytest.fixture(scope="module")
def one(one_seed: Path) -> tuple[str, str]:
    return pages(one_seed)


@pytest.fixture(scope="module")
def three(three_seeds: Path) -> tuple[str, str]:
    return pages(three_seeds)


def printed(store: Store) -> list[list[str]]:
    """Return the cells of the tables of a store with one task, line by line."""
    rows = {TASK: build_comparison(store, TASK)}
    tables = (
        overview_table(store, rows),
        cost_table(store, rows),
        comparison_table(rows[TASK], store.baseline),
        sharpness_table(build_sharpness(store, TASK)),
    )
    lines = (line for table in tables for group in table.groups for line in group.lines)
    return [[line.label] + [f"{c.text}|{c.detail}" if c.detail else c.text for c in line.cells] for line in lines]


def test_page_is_well_formed_and_accessible(one: tuple[str, str]) -> None:
    page = Page(one[0])
    assert page.found("html") == [{"lang": "en"}]
    assert all(attributes.get("scope") for attributes in page.found("th"))
    assert len(page.found("caption")) == len(page.found("table")) == 4
    assert len(page.found("h1")) == 1
    figures = [attributes for attributes in page.found("div") if attributes.get("role") == "img"]
    assert len(figures) == len(page.found("figure")) == 5
    assert all(attributes["aria-label"] for attributes in figures)
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    anchors = [str(attributes["href"]) for attributes in page.found("a")]
    assert all(anchor[1:] in identifiers for anchor in anchors)


def test_page_loads_nothing(one: tuple[str, str]) -> None:
    page = Page(one[0])
    # The one script is the page's own, allowed by its hash alone.
    scripts = re.findall(r"<script>(.*?)</script>", one[0], flags=re.DOTALL)
    assert [page.found("script"), len(scripts)] == [[DATA, {}], 1]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(found["content"] for found in page.found("meta") if "http-equiv" in found)
    assert f"script-src 'sha256-{digest}'; style-src" in str(policy)
    assert not page.found("link")
    assert not page.found("img")
    addresses = [str(value) for _, found in page.elements for name, value in found.items() if name in ("href", "src")]
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"https?://|\W//\w|@import", one[0].replace(scripts[0], ""))
    # The name of SVG's elements is no address that anything is loaded from.
    named = scripts[0].replace('"http://www.w3.org/2000/svg"', "")
    assert not re.search(r"fetch|XMLHttp|https?:|import\(", named)
    assert all("url(#" in match for match in re.findall(r"url\([^)]*", one[0]))


@pytest.mark.parametrize("which", ["one", "three"])
def test_page_and_markdown_show_every_cell_of_the_tables(which: str, request: pytest.FixtureRequest) -> None:
    html, markdown = request.getfixturevalue(which)
    store = load_store(request.getfixturevalue({"one": "one_seed", "three": "three_seeds"}[which]))
    expected = printed(store)
    printed_rows = [
        [re.sub("missing:.*", "", cell) for cell in row]
        for row in Page(html).rows
        if len(row) > 3 and row[0] in ("LoRA", "LoRA-SAM", "Bi-LoRA") and row[1] != TASK
    ]
    assert printed_rows == expected
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    shown = [
        [cell.replace("*", "") for cell in row]
        for row in rows
        if len(row) > 3 and row[0] in ("LoRA", "LoRA-SAM", "Bi-LoRA") and row[1] != TASK
    ]
    assert shown == [[re.sub(r"\|(.*)", r" (\1)", cell) for cell in row] for row in expected]


def test_the_words_of_the_summary_are_on_both(one: tuple[str, str], one_seed: Path) -> None:
    section = build_section(load_store(one_seed), TASK)
    for sentence in (*(verdict.sentence for verdict in section.verdicts), section.scope, *section.notes):
        assert sentence in "".join(Page(one[0]).text)
        assert sentence in one[1]


def test_conventions_and_environment_are_printed(one: tuple[str, str]) -> None:
    text = "".join(Page(one[0]).text)
    for part in ("Gauge", "balanced gauge, A Aᵀ = Bᵀ B", "2.13.0", "python -m benchmarks.compare", "24 November 2026"):
        assert part in text
        assert part in one[1]


def test_holes_are_marked_with_their_reason(make_store: MakeStore) -> None:
    html, markdown = pages(make_store(failed=("bilora",)))
    holes = [attributes for attributes in Page(html).found("td") if attributes.get("class") == "hole"]
    # The comparison, both spaces, the overview (score, cost, memory) and the cost table.
    assert len(holes) == 10 + 2 * 7 + 3 + 5 + 2
    reasons = {str(attributes["title"]) for attributes in holes if "extra_memory" not in str(attributes["title"])}
    assert reasons == {"failed in train: loss became NaN at step 40"}
    assert "1 of 3 planned runs is missing" in html
    assert "| Bi-LoRA | pocket-math | 0 | failed in train: loss became NaN at step 40 |" in markdown


def test_data_cannot_become_markup(make_store: MakeStore) -> None:
    folder = make_store(failed=("bilora",))
    run = folder / "runs" / f"lora-{TASK}-s0"
    examples = json.loads((run / "examples.json").read_text())
    for example in examples:
        example["generated"] = example["prompt"] = example["reference"] = ATTACK
    (run / "examples.json").write_text(json.dumps(examples))

    def spoil(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    spoil(run / "run.json", lambda record: record["spec"].update(model=ATTACK))
    spoil(folder / "failed" / f"bilora-{TASK}-s0.json", lambda record: record.update(message=ATTACK))
    spoil(folder / "comparison.json", lambda record: record.update(command=ATTACK, conventions={ATTACK: ATTACK}))
    html, markdown = pages(folder)
    page = Page(html)
    assert page.found("script") == [DATA, {}]
    assert html.count("&lt;script&gt;") >= 5
    assert ATTACK in "".join(page.text)
    # In the data of the runs no letter is left that could begin markup.
    (data,) = re.findall(r'id="run-data">(.*?)</script>', html)
    assert not {"<", ">", "&"} & set(data)
    assert ATTACK in json.loads(data)["texts"]
    # In Markdown only the command, inside a code span, keeps its characters.
    code = f"``{ATTACK}``"
    assert markdown.count(code) == 1
    rest = markdown.replace(code, "")
    assert "<script" not in rest
    assert "[b](" not in rest
    assert "\\[b\\](http" in rest


def test_a_run_shows_its_first_right_and_wrong_answers(one_seed: Path) -> None:
    run = load_store(one_seed).runs[0]
    detail = run_detail(run)
    assert [e.index for e in detail.right] == [e.index for e in run.examples if e.score == 1.0][:2]
    assert [e.index for e in detail.wrong] == [e.index for e in run.examples if e.score == 0.0][:2]
    assert ("options.rho", "0.05") in detail.settings
    assert ("train", "31.0 s") in detail.seconds


def test_escaped_markdown_stays_on_its_line() -> None:
    assert escape_markdown("a\n# b | c_d & <e>") == r"a \# b \| c\_d &amp; &lt;e>"


def test_two_tasks_have_two_sections(make_store: MakeStore) -> None:
    html, markdown = pages(make_store(tasks=("pocket-math", "pocket-code"), count=40))
    page = Page(html)
    assert [a["id"] for a in page.found("section") if str(a.get("id")).startswith("task-")] == ["task-1", "task-2"]
    # Five figures a task; over tasks cost, training and two spaces' slices. One seed has no interval over runs.
    assert len(page.found("figure")) == 10 + 4
    assert "## pocket-code" in markdown
