from __future__ import annotations

import pytest

from benchmarks.errors import first_line, nearest, one_line, shortened


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("\n  no memory \nand  more\n"), "no memory", "no memory and more"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError("  \n "), "OSError", "OSError"),
    ],
)
def test_an_error_is_one_line_whatever_its_text(error: Exception, first: str, whole: str) -> None:
    assert (first_line(error), one_line(error)) == (first, whole)
    assert one_line(error, most=4) == whole[:4]


def test_what_is_far_from_everything_has_no_nearest() -> None:
    assert nearest("bilra", ["lora", "bilora"]) == ", did you mean 'bilora'?"
    assert nearest("xyz", ["lora", "bilora"]) == ""


def test_long_values_are_cut() -> None:
    assert shortened("a" * 500) == f"'{'a' * 199}..."
    assert shortened(3) == "3"
