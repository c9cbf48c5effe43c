"""Every snippet of the site's own pages runs as it is printed; those of the README do in tests/end_to_end."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, name=str(page.relative_to(ROOT)))
