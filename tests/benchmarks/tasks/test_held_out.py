from __future__ import annotations

import hashlib

from benchmarks.tasks.held_out import LARGEST, split_by_hash


def test_the_smallest_hashes_are_held_out_in_whatever_order_the_rows_are() -> None:
    texts = [f"row {n}" for n in range(100)]
    found = split_by_hash(texts, ("validation", "test"))
    ordered = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    assert {texts[place] for place in found["validation"]} == set(ordered[:10])
    assert {texts[place] for place in found["test"]} == set(ordered[10:20])
    assert found["train"] == sorted(set(range(100)) - set(found["validation"]) - set(found["test"]))
    again = split_by_hash(texts[::-1], ("validation", "test"))
    assert {texts[::-1][place] for place in again["test"]} == set(ordered[10:20])


def test_rows_of_equal_text_stay_together_and_sizes_have_a_limit() -> None:
    texts = [f"row {n % 50}" for n in range(100)]
    found = split_by_hash(texts, ("validation", "test"))
    splits = [{texts[place] for place in places} for places in found.values()]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 50
    assert len(split_by_hash([str(n) for n in range(20_000)], ("validation",))["validation"]) == LARGEST
    assert [len(places) for places in split_by_hash(["a", "b", "c"], ("validation", "test")).values()] == [1, 1, 1]
