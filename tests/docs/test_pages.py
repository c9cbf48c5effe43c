"""Every snippet of the site's own pages runs as it is printed; those of the README do in tests/end_to_end."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.docs.running import run_page

ROOT = Path(__file__).parents[2]
NAMES = ("methods", "variants", "tasks", "presets", "claims")
# Written by the site's build, from what is tested elsewhere.
GENERATED = ("docs/examples/", "reference/api/", "reference/commands/", *(f"reference/{name}.md" for name in NAMES))
PAGES = [
    path
    for path in (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.is_file() and not any(part in path.as_posix() for part in (*GENERATED, "/_build/"))
]


# Pages that train, score or measure: `make test-pages` runs them too, and CI does.
LONG = {
    *("first-comparison", "reading-a-report", "your-own-model", "adding-a-method", "measuring-a-checkpoint"),
    *("latex", "lm-eval", "published-data", "gpu"),
}


def cases() -> list[ParameterSet]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=[pytest.mark.slow] if page.stem in LONG else [])
        for page in PAGES
    ]


@pytest.mark.parametrize("page", cases())
def test_the_page_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, name=str(page.relative_to(ROOT)))


def test_long_pages_are_pages() -> None:
    assert {page.stem for page in PAGES} >= LONG
