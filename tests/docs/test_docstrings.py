"""Formulas of docstrings come out as they were written."""

from __future__ import annotations

import pytest

from docs.pages.docstrings import escaped


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("norm |w| of a * b", r"norm \|w\| of a \* b"),
        ("code `|w| * x_` stays", "code `|w| * x_` stays"),
        ("a name_ of w_1", r"a name\_ of w_1"),
        (r"a \ b", r"a \\ b"),
    ],
)
def test_what_restructuredtext_reads_as_markup_is_escaped_outside_of_code(line: str, expected: str) -> None:
    assert escaped(line) == expected
