"""A page is run in order, and what it says is printed is compared with what was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError
from tests.docs.running import check_output, run_page


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, object]:
    path = folder / "page.md"
    path.write_text(text)
    return run_page(path, folder, monkeypatch, name="page.md")


def test_later_blocks_see_what_earlier_ones_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "<!-- snippet: file notes/a.txt -->\n```text\nhello\n```\n"
        "```python\nfrom pathlib import Path\nread = Path('notes/a.txt').read_text()\n```\n"
        "```python\nprint(read * 2)\n```\n<!-- snippet: output -->\n```text\nhello\nhello\n```\n"
        "<!-- snippet: shown by reason -->\n```python\nread = None\n```\n"
    )
    assert run(tmp_path, monkeypatch, text)["read"] == "hello\n"


def test_setups_give_names_and_unknown_ones_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(tmp_path, monkeypatch, "<!-- snippet: setup loop -->\n```python\ncount = len(batches)\n```\n")
    assert names["count"] == 3
    with pytest.raises(PageError, match=r"page\.md:2: there is no setup 'absent'"):
        run(tmp_path, monkeypatch, "<!-- snippet: setup absent -->\n```python\n1\n```\n")


def test_a_snippet_that_fails_fails_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, monkeypatch, "```python\n1 / 0\n```\n")


@pytest.mark.parametrize("text", ["one\n", "one\n...\nthree\n", "two  \nthree\n"])
def test_output_that_was_printed_passes(text: str) -> None:
    check_output(Block(place="p:1", language="text", text=text, marks=()), "one\ntwo\nthree\n")


@pytest.mark.parametrize("text", ["four\n", "three\n...\none\n", "one\nthree\n"])
def test_output_that_was_not_printed_is_found(text: str) -> None:
    with pytest.raises(PageError, match="p:1: this was not printed"):
        check_output(Block(place="p:1", language="text", text=text, marks=()), "one\ntwo\nthree\n")
