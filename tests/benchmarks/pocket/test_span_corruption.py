from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from benchmarks.pocket.span_corruption import CORRUPTED_PERCENT, MEAN_SPAN, corrupt

SENTINELS = range(1000, 1032)


def restore(given: list[int], target: list[int]) -> list[int]:
    """Put every span of a target where its sentinel stands in the input."""
    spans: dict[int, list[int]] = {}
    for token in target:
        if token in SENTINELS:
            spans[token] = []
        else:
            spans[list(spans)[-1]].append(token)
    return [each for token in given for each in spans.get(token, [token])]


def test_a_small_text_by_hand() -> None:
    """Ten tokens: 1.5, rounded to two, are corrupted, in one span; the eight others stand before it."""
    assert corrupt(list(range(10)), Random("any"), SENTINELS) == ([*range(8), 1000], [1000, 8, 9, 1001])
    assert corrupt([5, 6], Random("any"), SENTINELS) == ([5, 1000], [1000, 6, 1001])


@pytest.mark.parametrize("length", [2, 3, 7, 20, 64, 150, 256])
def test_input_and_target_together_are_the_text(length: int) -> None:
    for draw in range(50):
        tokens = [Random(f"{length}/{draw}").randrange(500) for _ in range(length)]
        given, target = corrupt(tokens, Random(f"spans/{draw}"), SENTINELS)
        assert restore(given, target) == tokens
        used = [token for token in target if token in SENTINELS]
        assert used == list(SENTINELS[: len(used)])
        assert [token for token in given if token in SENTINELS] == used[:-1]
        assert target[-1] == used[-1]
        # Neither is a span empty nor do two touch.
        assert all(len(span) > 0 for span in spans(target))
        assert all(not (a in SENTINELS and b in SENTINELS) for a, b in pairwise(given))


def spans(target: list[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for token in target[:-1]:
        if token in SENTINELS:
            found.append([])
        else:
            found[-1].append(token)
    return found


def test_the_share_and_the_mean_length_are_those_of_the_paper() -> None:
    corrupted = [[len(span) for span in spans(corrupt([1] * 200, Random(f"{k}"), SENTINELS)[1])] for k in range(300)]
    assert {sum(lengths) for lengths in corrupted} == {200 * CORRUPTED_PERCENT // 100}
    assert {len(lengths) for lengths in corrupted} == {200 * CORRUPTED_PERCENT // 100 // MEAN_SPAN}


def test_every_division_into_spans_is_equally_likely() -> None:
    """Twenty-seven tokens: four corrupted, which rounds to one span; forty: six in two spans, of five divisions."""
    counted = Counter(tuple(map(len, spans(corrupt([1] * 40, Random(f"{k}"), SENTINELS)[1]))) for k in range(5_000))
    assert set(counted) == {(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)}
    assert all(abs(count - 1_000) < 130 for count in counted.values())  # 4.6 standard deviations


def test_what_cannot_be_corrupted_is_refused() -> None:
    with pytest.raises(ValueError, match="found 1 tokens, expected at least 2"):
        corrupt([1], Random(0), SENTINELS)
    with pytest.raises(ValueError, match="need more than 2 sentinels"):
        corrupt([1] * 100, Random(0), SENTINELS[:2])
