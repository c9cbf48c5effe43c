from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.lazy_rows import AT_ONCE, LazyRows, encoded


def test_long_sequences_are_encoded_where_they_are_read() -> None:
    seen: list[int] = []

    def encode(items: Sequence[int]) -> list[dict[str, Any]]:
        seen.extend(items)
        return [{"input_ids": [item]} for item in items]

    rows = encoded(range(AT_ONCE + 1), encode)
    assert isinstance(rows, LazyRows)
    assert (len(rows), seen) == (AT_ONCE + 1, [])
    assert rows[7] == {"input_ids": [7]}
    assert rows[-1] == {"input_ids": [AT_ONCE]}
    assert rows[2:4] == [{"input_ids": [2]}, {"input_ids": [3]}]
    assert seen == [7, AT_ONCE, 2, 3]
    with pytest.raises(IndexError):
        rows[AT_ONCE + 1]
    assert encoded(range(2), encode) == [{"input_ids": [0]}, {"input_ids": [1]}]
