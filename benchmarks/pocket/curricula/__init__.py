"""Generated pretraining texts, one kind per module; see `registry` for their shares of the corpus."""

from __future__ import annotations

from benchmarks.pocket.curricula.item import Curriculum, Item, draw, is_held_out
from benchmarks.pocket.curricula.registry import CURRICULA, TOKEN_SHARES

__all__ = ["CURRICULA", "TOKEN_SHARES", "Curriculum", "Item", "draw", "is_held_out"]
