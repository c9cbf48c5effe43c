from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from bilora.factor_norms import displacement_norm, product_norms_squared
from bilora.factors import lora_factors
from tests.tiny import lora_config, moved_off_zero, tiny_llama


def random_products(generator: torch.Generator) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    shapes = [(4, 6, 9), (4, 7, 5), (4, 6, 9), (2, 6, 9)]
    return [
        (torch.randn(r, n, generator=generator), torch.randn(m, r, generator=generator), 0.5 + index)
        for index, (r, m, n) in enumerate(shapes)
    ]


def test_product_norms_equal_the_explicit_products() -> None:
    products = random_products(torch.Generator().manual_seed(0))
    explicit = torch.stack([torch.linalg.matrix_norm(s * B.double() @ A.double()) ** 2 for A, B, s in products])
    torch.testing.assert_close(product_norms_squared(products).double(), explicit, rtol=1e-5, atol=0)


def test_displacement_norm_keeps_its_digits_for_tiny_moves() -> None:
    model = get_peft_model(tiny_llama(), lora_config())
    moved_off_zero(model)
    factors = lora_factors(model)
    before = [(f.A.detach().clone(), f.B.detach().clone()) for f in factors]
    with torch.no_grad():
        for f in factors:
            f.A.add_(1e-5 * torch.randn_like(f.A))
            f.B.add_(1e-5 * torch.randn_like(f.B))
    explicit = torch.stack(
        [
            torch.linalg.matrix_norm(f.scaling * (f.B.double() @ f.A.double() - B0.double() @ A0.double()))
            for f, (A0, B0) in zip(factors, before, strict=True)
        ]
    ).norm()
    assert displacement_norm(factors, before).item() == pytest.approx(explicit.item(), rel=1e-4)
