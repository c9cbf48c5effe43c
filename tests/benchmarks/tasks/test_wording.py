from __future__ import annotations

import pytest

from benchmarks.tasks.wording import CASES, Style, read


@pytest.mark.parametrize(
    ("line", "words", "between", "ends"),
    [
        (" (RED - Blue)\n", ("RED", "Blue"), (" - ",), ("(", ")")),
        ("a, b;c", ("a", "b", "c"), (", ", ";"), ("", "")),
        ("fig.", ("fig",), (), ("", ".")),
        ("fig2plum", ("fig", "plum"), ("2",), ("", "")),
        ("crème brûlée", ("crème", "brûlée"), (" ",), ("", "")),
        ("12!", (), (), ("12!", "")),
        ("", (), (), ("", "")),
    ],
)
def test_a_line_is_taken_apart_without_loss(
    line: str, words: tuple[str, ...], between: tuple[str, ...], ends: tuple[str, str]
) -> None:
    reading = read(line)
    assert (reading.words, reading.between, reading.ends) == (words, between, ends)


def test_case_and_separator_need_something_to_be_judged_on() -> None:
    assert read("RED, BLUE").is_written_in("upper")
    assert not read("RED, Blue").is_written_in("upper")
    assert not read("...").is_written_in("upper")
    assert read("a/b/c").is_separated_by("/")
    assert not read("a/b, c").is_separated_by("/")
    assert not read("a / b").is_separated_by("/")
    assert not read("a").is_separated_by("/")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("separator", [", ", " - ", "/"])
def test_what_a_style_writes_is_read_as_that_style_and_no_other(case: str, separator: str) -> None:
    reading = read(Style(case=case, separator=separator, ends=("(", ")")).write(("fig", "plum")))
    assert [name for name in CASES if reading.is_written_in(name)] == [case]
    assert [mark for mark in (", ", " - ", "/") if reading.is_separated_by(mark)] == [separator]
    assert (reading.lower, reading.ends) == (("fig", "plum"), ("(", ")"))
