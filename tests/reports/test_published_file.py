from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.fields import RunStoreError
from reports.published_file import PUBLISHED, published_numbers, read_numbers


def test_every_number_of_the_file_is_read() -> None:
    with PUBLISHED.open() as stream:
        assert len(published_numbers()) == len(list(csv.DictReader(stream)))
    assert {number.unit for number in published_numbers()} == {"%", "of 10", "GB", "s"}


@pytest.mark.parametrize(
    ("change_line", "message"),
    [
        (lambda line: line.replace(b"59.74", b"x"), "row 2 has value 'x'; expected a number"),
        (lambda line: line.replace(b"59.74", b"inf"), "row 2 has value 'inf'"),
        (lambda line: line.replace(b"59.74", b""), "row 2 has no value"),
        (lambda line: line[:20] + b"\n", "row 2 has no "),
        (lambda line: b"\xff" + line, "cannot be read"),
    ],
)
def test_published_numbers_are_read_or_refused_by_row(
    change_line: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    assert len(published_numbers()) > 400
    head, first, *rest = PUBLISHED.read_bytes().splitlines(keepends=True)
    path = tmp_path / "published.csv"
    path.write_bytes(head + change_line(first) + b"".join(rest[:1]))
    with pytest.raises(RunStoreError, match=message):
        read_numbers(path)
