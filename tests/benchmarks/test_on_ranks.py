from __future__ import annotations

from pathlib import Path

import torch
from torch import distributed

from benchmarks.on_ranks import RANKS, on_ranks


def _sum_of_ranks(offset: int) -> tuple[int, float]:
    total = torch.tensor(float(offset + distributed.get_rank()))
    distributed.all_reduce(total)
    return distributed.get_rank(), float(total)


def test_every_process_takes_part_and_answers(tmp_path: Path) -> None:
    assert on_ranks(_sum_of_ranks, tmp_path, 10) == [(rank, 10.0 * RANKS + 1.0) for rank in range(RANKS)]
