"""Marks are read as they are meant, and a block that is neither run nor excused is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError, blocks


def page(folder: Path, text: str) -> list[Block]:
    path = folder / "page.md"
    path.write_text(text)
    return blocks(path)


def test_a_block_knows_its_language_place_and_marks(tmp_path: Path) -> None:
    marks = "<!-- snippet: quick -->\n<!-- snippet: with --limit 2 -->\n"
    command, output = page(tmp_path, f"Text\n\n{marks}```sh\npython -m x\n```\n\n```text\nout\n```\n")
    assert command == Block(
        place="page.md:5", language="sh", text="python -m x\n", marks=(("quick", ""), ("with", "--limit 2"))
    )
    assert (output.language, output.text, output.marks) == ("text", "out\n", ())


def test_a_fence_inside_a_longer_fence_is_content(tmp_path: Path) -> None:
    (block,) = page(tmp_path, "````text\n```sh\nrm\n```\n````\n")
    assert block.text == "```sh\nrm\n```\n"


def test_directives_of_the_site_are_no_snippets(tmp_path: Path) -> None:
    assert page(tmp_path, "```{toctree}\nindex\n```\n") == []


@pytest.mark.parametrize("language", ["", "yaml", "bash", "pycon"])
def test_a_block_that_is_neither_run_nor_excused_is_found(tmp_path: Path, language: str) -> None:
    with pytest.raises(PageError, match=r"page\.md:1: .* neither run nor excused"):
        page(tmp_path, f"```{language}\nx\n```\n")
    assert page(tmp_path, f"<!-- snippet: shown by reason -->\n```{language}\nx\n```\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- snippet: skip it -->\n```sh\nx\n```\n", "unknown mark 'skip'"),
        ("<!-- snippet: shown -->\n```sh\nx\n```\n", "says nothing"),
        ("<!-- snippet: quick -->\n\nText\n", "stands before no block"),
        ("<!-- snippet:quick -->\n```sh\nx\n```\n", "is no mark"),
    ],
)
def test_a_mark_that_means_nothing_is_found(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PageError, match=complaint):
        page(tmp_path, text)


def test_replacements_must_find_what_they_replace(tmp_path: Path) -> None:
    (block,) = page(tmp_path, "<!-- snippet: replace a => b -->\n```sh\na c\n```\n")
    assert block.changed == "b c\n"
    (block,) = page(tmp_path, "<!-- snippet: replace gone => b -->\n```sh\na c\n```\n")
    with pytest.raises(PageError, match="finds nothing to replace"):
        _ = block.changed
