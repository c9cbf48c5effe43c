from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.diffusion.replay import Replayed


def test_without_a_gpu_the_function_is_called() -> None:
    seen = []

    def double(x: Tensor, y: Tensor) -> Tensor:
        seen.append(x.shape)
        return 2 * x + y

    replayed = Replayed(double)
    for size in (2, 2, 3):
        x, y = torch.randn(size), torch.tensor(1.0)
        assert torch.equal(replayed(x, y), 2 * x + y)
    assert len(seen) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replayed_pass_is_the_plain_one() -> None:
    with torch.device("cuda"):
        network = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        calls = [torch.randn(4, 8) for _ in range(3)]
    replayed = Replayed(network)
    with torch.inference_mode():
        for x in calls:
            torch.testing.assert_close(replayed(x), network(x))
        torch.testing.assert_close(replayed(calls[0][:2]), network(calls[0][:2]))
