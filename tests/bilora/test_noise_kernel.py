from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")
if not torch.cuda.is_available():
    pytest.skip("the kernel runs on a GPU", allow_module_level=True)

from torch import nn

from bilora.noise import FrozenLinear, WeightNoise
from bilora.noise_kernel import with_noise

SHAPES = [(64, 4096), (5, 7), (33, 2049), (1, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_is_a_noise_and_its_norm_is_returned(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """On zero weights the sum is the noise; W itself is left alone."""
    zero = torch.zeros(shape, device="cuda", dtype=dtype)
    deviation = torch.linspace(0.5, 2.0, shape[0], device="cuda")
    first, square = with_noise(zero, deviation, 2**63 + 5)
    again, _ = with_noise(zero, deviation, 2**63 + 5)
    other, _ = with_noise(zero, deviation, 6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == dtype
    assert not zero.any()
    assert square.item() == pytest.approx(
        first.double().square().sum().item(), rel=1e-5 if dtype == torch.float32 else 1e-2
    )


def test_noise_is_gaussian_and_independent_within_rows_and_between_them() -> None:
    W = torch.randn(256, 5000, device="cuda")
    deviation = torch.rand(256, device="cuda") + 0.1
    out, _ = with_noise(W, deviation, 1234567890123)
    z = ((out - W) / deviation[:, None]).double()
    # Standard errors over 1.28 million normals: mean 9e-4, deviation 6e-4, fourth moment 9e-3.
    assert abs(z.mean().item()) < 5e-3
    assert z.std().item() == pytest.approx(1, abs=4e-3)
    assert z.pow(4).mean().item() == pytest.approx(3, abs=0.05)
    assert torch.corrcoef(z).triu(1).abs().max() < 0.08  # rows; a standard error is 0.014
    for lag in (1, 512, 1024, 2048):
        assert abs((z[:, lag:] * z[:, :-lag]).mean().item()) < 5e-3
    assert (z.std(dim=1) - 1).abs().max() < 0.06


def test_passes_of_a_step_share_it_forward_and_backward() -> None:
    layer = nn.Linear(300, 40, bias=False, device="cuda")
    layer.weight.requires_grad_(False)
    noise = WeightNoise([FrozenLinear("layer", layer)])
    x = torch.randn(8, 300, device="cuda", requires_grad=True)
    with noise.added([torch.ones(40, device="cuda")], 3, 4):
        matrix = layer(torch.eye(300, device="cuda")).T
        (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(gradient, matrix.sum(dim=0).expand(8, 300), rtol=1e-2, atol=0.1)
    assert noise.norm().item() == pytest.approx((matrix - layer.weight).norm().item(), rel=1e-2)
