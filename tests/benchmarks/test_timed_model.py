from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.timed_model import subject
from tests.models import save_tiny_model


def test_random_weights_are_others(tmp_path: Path) -> None:
    folder, drawn = str(save_tiny_model(tmp_path / "m", seed=1)), []
    for weights in ("trained", "random", "random"):
        timed = subject(folder, rank=2, weights=weights, layers=None, shapes=[(1, 4)], device=torch.device("cpu"))
        drawn.append(next(timed.base.parameters()).detach())
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
