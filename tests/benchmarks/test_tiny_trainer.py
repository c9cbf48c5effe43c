from __future__ import annotations

import pytest
import torch

from benchmarks.tiny_trainer import examples, relative_difference


def test_the_difference_is_relative_to_the_whole_update() -> None:
    expected = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    found = {"a": torch.tensor([3.0, 0.5]), "b": torch.tensor([4.0])}
    assert relative_difference(found, expected) == pytest.approx(0.1)


def test_examples_have_unequally_many_scored_tokens() -> None:
    rows = examples(5)
    assert {row["labels"].count(-100) for row in rows} == {1, 2, 3, 4, 5}
    assert all(
        kept in (-100, token) for row in rows for kept, token in zip(row["labels"], row["input_ids"], strict=True)
    )
