"""Splits by hash: which rows are held out depends on what they say, not on where they stand.

The rows whose SHA-256 is smallest are validation, the next ones are test, all others are trained on. The same file is
split in the same way on every machine and in any order of its rows, and rows of equal text stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from benchmarks.tasks.base import Split

LARGEST = 500
_SHARE = 10


def split_by_hash(texts: Sequence[str], held_out: Sequence[Split]) -> dict[Split, list[int]]:
    """Return the places of the rows of every split, in the order of the rows.

    Args:
        texts: What each row is recognised by.
        held_out: The splits besides train; each gets a tenth of the rows, 500 at most and one at least.
    """
    marks = [hashlib.sha256(text.encode()).digest() for text in texts]
    ordered = sorted(marks)
    size = min(LARGEST, max(1, len(marks) // _SHARE))
    bounds = [ordered[min(size * (index + 1), len(ordered)) - 1] for index in range(len(held_out))] if ordered else []
    found: dict[Split, list[int]] = {name: [] for name in (*held_out, "train")}
    for place, mark in enumerate(marks):
        before = [name for name, bound in zip(held_out, bounds, strict=False) if mark <= bound]
        found[before[0] if before else "train"].append(place)
    return found
