"""The page in a headless Chromium: no errors, no requests, tables sort, filters filter, nothing overflows a phone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.render import render
from tests.reports.chromium import PROGRAM, Browser
from tests.reports.conftest import write_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]
TABLE = "table-comparison-pocket-math"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    tasks = ("pocket-math", "pocket-code")
    write_store(folder / "store", seeds=(0, 1), tasks=tasks, failed=("lora-sam",), absent=(), count=40)
    for path in (folder / "store" / "runs").glob("*/examples.json"):
        path.write_text(json.dumps([e | {"generated": "<b>bold</b>"} for e in json.loads(path.read_text())]))
    return render(folder / "store", folder / "out").page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def tab(browser: Browser, page: Path) -> Browser:
    browser.events.clear()
    browser.open(page)
    return browser


def column(tab: Browser, place: int) -> list[str]:
    rows = f"[...document.querySelectorAll('#{TABLE} tbody tr[data-method]')]"
    return list(tab.evaluate(f"{rows}.map(row => row.cells[{place}].dataset.value || row.dataset.method)"))


def test_the_page_opens_without_errors_and_asks_for_nothing(tab: Browser, page: Path) -> None:
    tab.evaluate("1")
    told = [event for event in tab.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
    said = [event for event in tab.events if event.get("method") == "Runtime.consoleAPICalled"]
    assert told == said == []
    asked = {e["params"]["request"]["url"] for e in tab.events if e.get("method") == "Network.requestWillBeSent"}
    assert asked <= {page.as_uri()}


def test_a_head_sorts_its_table_up_and_down_and_says_so(tab: Browser) -> None:
    button = f"document.querySelectorAll('#{TABLE} thead th')[1].querySelector('button')"
    before = [float(value) for value in column(tab, 1)]
    for turn, direction in enumerate(("ascending", "descending")):
        tab.evaluate(f"{button}.focus(); {button}.click()")
        assert [float(value) for value in column(tab, 1)] == sorted(before, reverse=turn == 1)
        assert tab.evaluate(f"{button}.parentElement.getAttribute('aria-sort')") == direction
        assert tab.evaluate("document.getElementById('live').textContent") == f"Sorted by Exact match, {direction}."
    assert tab.evaluate("document.querySelectorAll('#" + TABLE + " [aria-sort]').length") == 1
    assert tab.evaluate("document.activeElement.tagName") == "BUTTON"


def test_holes_stay_last_in_either_direction(tab: Browser) -> None:
    # The baseline has words where the others have a difference.
    button = f"document.querySelectorAll('#{TABLE} thead th')[2].querySelector('button')"
    for _ in range(2):
        tab.evaluate(f"{button}.click()")
        numbers = [value for value in column(tab, 2) if value != "lora"]
        assert len(numbers) == 2
        assert sorted(map(float, numbers)) in ([float(v) for v in numbers], [float(v) for v in numbers[::-1]])


def test_filters_hide_methods_and_tasks_and_say_so(tab: Browser) -> None:
    tab.evaluate(
        "var box = document.querySelector('#filters input[value=\"lora-sam\"]'); box.checked = false;"
        "box.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert tab.evaluate("document.querySelectorAll('[data-method=\"lora-sam\"]:not([hidden])').length") == 0
    assert tab.evaluate("document.querySelectorAll('[data-method=\"bilora\"]:not([hidden])').length") > 4
    assert tab.evaluate("document.getElementById('live').textContent").startswith("Showing 2 of 3 methods, all tasks, ")
    tab.evaluate(
        "var task = document.querySelector('#filters select'); task.value = 'pocket-code';"
        "task.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert tab.evaluate("document.querySelector('section[data-task=\"pocket-math\"]').offsetHeight") == 0
    assert tab.evaluate("document.querySelector('section[data-task=\"pocket-code\"]').offsetHeight") > 0
    tab.evaluate("document.querySelector('#filters button[data-set=none]').click()")
    assert tab.evaluate("document.querySelectorAll('tr[data-method]:not([hidden])').length") == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_but_scrolling_regions_is_wider_than_the_window(tab: Browser, width: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.call("Emulation.clearDeviceMetricsOverride")


def test_dark_and_print_have_their_own_paper(tab: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = tab.evaluate(paper)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert tab.evaluate(paper) != light
    tab.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert tab.evaluate("getComputedStyle(document.getElementById('filters')).display") == "none"
    tab.call("Emulation.setEmulatedMedia", media="", features=[])


def test_a_run_unfolds_to_its_curves_log_and_answers(tab: Browser) -> None:
    run = "document.querySelector('details.run[data-run=\"bilora-pocket-math-s0\"]')"
    assert tab.evaluate(f"{run}.querySelectorAll('svg').length") == 0
    tab.evaluate(f"{run}.open = true")
    for _ in range(100):
        if tab.evaluate(f"{run}.dataset.drawn === 'yes'"):
            break
        time.sleep(0.05)
    assert tab.evaluate(f"{run}.querySelectorAll('.curves svg').length") == 4
    label = tab.evaluate(f"{run}.querySelector('svg').getAttribute('aria-label')")
    assert label.startswith("loss from ")
    assert tab.evaluate(f"{run}.querySelectorAll('.log tbody tr').length") == 20
    titles = tab.evaluate(f"[...{run}.querySelectorAll('h4')].map(head => head.textContent)")
    assert titles[:5] == ["Curves", "Results", "Specification", "Time", "Environment"]
    assert tab.evaluate(f"{run}.querySelectorAll('.answer').length") == 4
    # Folding and unfolding again draws nothing twice.
    tab.evaluate(f"{run}.open = false")
    tab.evaluate(f"{run}.open = true")
    assert tab.evaluate(f"{run}.querySelectorAll('.curves svg').length") == 4


def test_a_run_s_texts_are_text(tab: Browser) -> None:
    assert tab.evaluate("document.querySelectorAll('script').length") == 2
    tab.evaluate("document.querySelectorAll('details.run').forEach(run => { run.open = true; })")
    time.sleep(0.2)
    assert tab.evaluate("document.querySelectorAll('.answer pre b').length") == 0
    assert "<b>bold</b>" in tab.evaluate("document.getElementById('runs').textContent")
