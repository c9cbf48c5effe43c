"""Rows of a long training set, made when they are asked for, so that training begins before all of it is tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
Row = dict[str, Any]
#: Shorter sequences are encoded at once, which takes less time for each.
AT_ONCE = 512


class LazyRows(Sequence[Row], Generic[T]):
    """The rows of items, encoded on access and not kept.

    Args:
        items: What the rows are made of.
        encode: Makes rows of several items, one each.
    """

    def __init__(self, items: Sequence[T], encode: Callable[[Sequence[T]], list[Row]]) -> None:
        self._items, self._encode = items, encode

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """Return a row, or a list of rows."""
        if isinstance(index, slice):
            return self._encode(self._items[index])
        return self._encode([self._items[index]])[0]


def encoded(items: Sequence[T], encode: Callable[[Sequence[T]], list[Row]]) -> Sequence[Row]:
    """Return the rows of items, lazily if there are many."""
    return encode(items) if len(items) <= AT_ONCE else LazyRows(items, encode)
