"""Generated pretraining texts, one kind per module; see `registry` for their shares of the corpus."""

from __future__ import annotations

from benchmarks.pocket.curricula.item import Curriculum, Item, draw, is_held_out
from benchmarks.pocket.curricula.registry import (
    ALL_CURRICULA,
    CURRICULA,
    T5_CURRICULA,
    T5_TOKEN_SHARES,
    TOKEN_SHARES,
)

__all__ = [
    "ALL_CURRICULA",
    "CURRICULA",
    "T5_CURRICULA",
    "T5_TOKEN_SHARES",
    "TOKEN_SHARES",
    "Curriculum",
    "Item",
    "draw",
    "is_held_out",
]
