"""One update, whatever the number of ranks: two gloo processes against one, at the same global batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import method_names
from tests.ranks import on_ranks, trained_state, trainer

MODES = ("ddp", "fsdp2")
# In float64 all that differs is the order in which numbers are added.
ROUNDING = 1e-9
# Its sketches of the gradient are kept in fp32.
NARROW = {"bilora-exact": 2e-5}

Case = tuple[str, str, dict[str, Any]]


def _train_all(cases: list[Case], folder: Path, passes: int) -> list[dict[str, Tensor] | str]:
    return [_train(case, folder, passes) for case in cases]


def _train(case: Case, folder: Path, passes: int) -> dict[str, Tensor] | str:
    name, mode, changes = case
    return trained_state(trainer(name, folder, passes=passes, sharded=mode == "fsdp2", **changes))


def check(cases: list[Case], folder: Path, *, tolerance: float = ROUNDING, passes: int = 1) -> None:
    """Compare every parameter, and what was logged, with one process that takes twice as many passes a step."""
    both = on_ranks(_train_all, folder, cases, folder, passes)
    wrong = []
    for index, (name, mode, changes) in enumerate(cases):
        expected = _train((name, "ddp", changes), folder, 2 * passes)
        for rank, found in enumerate(both):
            assert found[index].keys() == expected.keys()
            for key, value in expected.items():
                error = float((found[index][key] - value).norm() / value.norm().clamp_min(1e-12))
                if not error <= NARROW.get(name, tolerance):
                    wrong.append((name, mode, rank, key, error))
    assert not wrong, "\n".join(map(str, wrong))


def test_bilora_and_lora_sam_under_ddp(tmp_path: Path) -> None:
    check([("bilora", "ddp", {}), ("lora-sam", "ddp", {})], tmp_path)


@pytest.mark.slow
def test_every_method_under_ddp_and_fsdp2(tmp_path: Path) -> None:
    check([(name, mode, {}) for mode in MODES for name in method_names()], tmp_path)
