"""The examples are notebooks in percent format, and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages.examples import FOLDER, cells, page, write_pages

SCRIPTS = sorted(FOLDER.glob("*.py"))
# What makes an example small; each must be found in one of them.
SMALL = {"STEPS = 60": "STEPS = 2", "MEASURED = 16": "MEASURED = 2", "STEPS = 40": "STEPS = 12", "size=16": "size=4"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_example_runs(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script.read_text()
    for old, new in SMALL.items():
        text = text.replace(old, new)
    exec(compile(text, str(script), "exec"), {"__name__": "__main__"})
    assert re.search(r"bilora", capsys.readouterr().out)


def test_what_makes_them_small_is_there() -> None:
    assert all(any(old in script.read_text() for script in SCRIPTS) for old in SMALL)


def test_cells_are_text_and_code() -> None:
    assert cells("# %% [markdown]\n# # Title\n#\n# Text\n\n# %%\nx = 1\n") == [
        ("markdown", "# Title\n\nText"),
        ("code", "x = 1"),
    ]
    with pytest.raises(ValueError, match="expected '# %%' before 'x = 1'"):
        cells("x = 1\n")
    with pytest.raises(ValueError, match="holds 'x = 1'; expected a comment"):
        cells("# %% [markdown]\nx = 1\n")


def test_every_example_has_a_page(tmp_path: Path) -> None:
    write_pages(tmp_path)
    index = (tmp_path / "index.md").read_text()
    for script in SCRIPTS:
        assert script.stem in index
        assert page(script).startswith("# ")
