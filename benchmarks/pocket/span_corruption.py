"""Span corruption, the denoising objective of T5 (Raffel et al., JMLR 2020, arXiv 1910.10683, section 3.1.4).

Spans of a text are each replaced by a sentinel in the input; the target holds every sentinel followed by what it
stands for, and ends with one more sentinel. 15 % of the tokens are corrupted, in spans of three tokens on average. As
in T5's own code, lengths are a uniformly drawn division of the corrupted tokens into spans and of the rest into the
pieces before them, so that no span is empty and no two touch.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

#: In whole percent, so that sizes are found by whole numbers alone.
CORRUPTED_PERCENT = 15
MEAN_SPAN = 3


def corrupt(tokens: list[int], rng: Random, sentinels: range) -> tuple[list[int], list[int]]:
    """Corrupt a text.

    Args:
        tokens: At least two.
        rng: Decides which spans.
        sentinels: Token numbers of the sentinels in the order of their use.

    Returns:
        The input, and the target: with each sentinel of the input replaced by what follows it in the target, the text.

    Raises:
        ValueError: If the text is too short, or so long that the sentinels do not suffice.
    """
    if len(tokens) < 2:
        raise ValueError(f"span corruption: found {len(tokens)} tokens, expected at least 2")
    corrupted = min(max(1, (CORRUPTED_PERCENT * len(tokens) + 50) // 100), len(tokens) - 1)
    kept = len(tokens) - corrupted
    spans = min(max(1, (corrupted + MEAN_SPAN // 2) // MEAN_SPAN), kept)
    if spans >= len(sentinels):
        raise ValueError(f"span corruption: {spans} spans and an end need more than {len(sentinels)} sentinels")
    given: list[int] = []
    target: list[int] = []
    place = 0
    for sentinel, before, length in zip(
        sentinels, _divide(kept, spans, rng), _divide(corrupted, spans, rng), strict=False
    ):
        given += [*tokens[place : place + before], sentinel]
        place += before
        target += [sentinel, *tokens[place : place + length]]
        place += length
    return given, [*target, sentinels[spans]]


def _divide(total: int, parts: int, rng: Random) -> list[int]:
    """Divide a whole number into parts of at least 1, all divisions equally likely."""
    cuts = [0, *sorted(rng.sample(range(1, total), parts - 1)), total]
    return [after - before for before, after in pairwise(cuts)]
