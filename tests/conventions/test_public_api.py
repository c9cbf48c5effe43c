"""The public interface is fully documented, and the reader that says so finds what is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conventions.docstrings import parse
from tests.conventions.public_api import errors_of, gaps, gaps_of_function


@pytest.mark.parametrize("package", ["bilora", "analysis"])
def test_everything_exported_is_documented(package: str) -> None:
    assert gaps(package) == []


def half_documented(matrix: Tensor, rank: int) -> Tensor:
    """Return something.

    Args:
        matrix: A matrix.

    Raises:
        TypeError: Never.
    """
    if rank < 0:
        _refuse(rank)
    return torch.zeros_like(matrix)


def _refuse(rank: int) -> None:
    raise ValueError(f"rank is {rank}")


def test_what_is_left_out_is_found() -> None:
    assert list(gaps_of_function("f", half_documented)) == [
        "f(matrix) has no shape",
        "f(rank)",
        "f -> has no shape",
        "f raises ValueError",
    ]


def test_errors_of_private_helpers_count() -> None:
    assert errors_of(half_documented) == {"ValueError"}


def test_entries_may_share_a_line_and_go_on_in_the_next() -> None:
    text = parse(
        "A.\n\n    Args:\n        a, b: One\n            and more.\n        *rest: Others.\n\n    After.\n    "
    )
    assert text.entries("Args") == {"a": "One and more.", "b": "One and more.", "rest": "Others."}
    assert text.summary == "A.\n\nAfter."
