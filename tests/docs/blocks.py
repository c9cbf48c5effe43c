"""The code blocks of a Markdown page, with what the page says about running them.

A comment in front of a block, invisible to readers, says how the tests treat it:

    <!-- snippet: quick -->              the command's flags for a tiny model and few steps are added
    <!-- snippet: with --limit 2 -->     these flags are added
    <!-- snippet: replace A => B -->     the text is changed before it is run
    <!-- snippet: setup trainer -->      `tests.docs.setups` makes the names that the block takes as given
    <!-- snippet: file notes.jsonl -->   the block is the content of this file
    <!-- snippet: parse it needs a GPU -->   the command is read by its own parser and checked, and not run
    <!-- snippet: output -->            the block before has printed this; a line of ... stands for any lines
    <!-- snippet: shown by reason -->       the block is not to be run, and this is why

Several may stand above each other. Without one, Python is executed, with the names that earlier blocks of the page
made, and commands are run. `text` is output and needs no reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

VERBS = ("quick", "with", "replace", "setup", "file", "parse", "output", "shown")
_MARK = re.compile(r"^<!-- snippet: (\w+) ?(.*?) -->$")
_FENCE = re.compile(r"^(`{3,})(\S*)\s*$")
#: Languages that are run.
RUN = ("python", "sh")
#: Languages that show what something prints.
OUTPUT = ("text",)


class PageError(AssertionError):
    """A block that is neither run nor excused, or a mark that means nothing."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        place: Page and line, for messages.
        language: After the fence.
        text: Its content.
        marks: Verb and argument of every mark, in order.
    """

    place: str
    language: str
    text: str
    marks: tuple[tuple[str, str], ...]

    def given(self, verb: str) -> list[str]:
        """Return the arguments of all marks of a verb."""
        return [argument for own, argument in self.marks if own == verb]

    @property
    def changed(self) -> str:
        """The text after its replacements.

        Raises:
            PageError: If what is to be replaced is not there.
        """
        text = self.text
        for argument in self.given("replace"):
            old, arrow, new = argument.partition(" => ")
            if not arrow or old not in text:
                raise PageError(f"{self.place}: 'replace {argument}' finds nothing to replace")
            text = text.replace(old, new)
        return text


def blocks(path: Path, *, name: str | None = None) -> list[Block]:
    """Return the blocks of a page, without those that are directives of the site.

    Raises:
        PageError: If a mark stands before no block, or a block is neither run nor excused.
    """
    found: list[Block] = []
    marks: list[tuple[str, str]] = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        place = f"{name or path.name}:{number}"
        fence, mark = _FENCE.match(line), _MARK.match(line)
        if mark is not None:
            marks.append((mark[1], mark[2]))
        elif fence is not None:
            inside = []
            for _, content in lines:
                if content.startswith(fence[1]):
                    break
                inside.append(content)
            block = Block(place=place, language=fence[2], text="\n".join(inside) + "\n", marks=tuple(marks))
            marks = []
            if not block.language.startswith("{"):
                _check(block)
                found.append(block)
        elif marks and line.strip():
            raise PageError(f"{place}: the mark above stands before no block")
        elif line.startswith("<!-- snippet"):
            raise PageError(f"{place}: {line} is no mark; expected '<!-- snippet: VERB ... -->'")
    return found


def _check(block: Block) -> None:
    for verb, argument in block.marks:
        if verb not in VERBS:
            raise PageError(f"{block.place}: unknown mark {verb!r}; known: {', '.join(VERBS)}")
        if verb not in ("quick", "output") and not argument:
            raise PageError(f"{block.place}: mark {verb!r} says nothing")
    excused = block.given("shown") or block.given("file")
    if block.language not in (*RUN, *OUTPUT) and not excused:
        raise PageError(
            f"{block.place}: a block of {block.language or 'no language'} is neither run nor excused; name its "
            f"language ({', '.join((*RUN, *OUTPUT))}) or mark it as file or shown"
        )
