from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import Objective, parameter_space, vectors
from analysis.spaces import adapted_layers, column_basis


def test_the_projection_is_orthogonal_and_has_the_stated_rank(tiny_lora, columns) -> None:
    with parameter_space(tiny_lora(targets=["q_proj", "v_proj"]), "tangent") as space:
        projector = columns(space.project, space)
        np.testing.assert_allclose(projector, projector.T, atol=1e-13)
        np.testing.assert_allclose(projector @ projector, projector, atol=1e-13)
        assert np.linalg.matrix_rank(projector) == space.dimension
        assert space.dimension == (8 * 2 + 2 * 8 - 4) + (4 * 2 + 2 * 8 - 4)


def test_it_spans_what_moving_the_factors_reaches_to_first_order(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "tangent") as space:
        generator = torch.Generator().manual_seed(0)
        reached = []
        for layer in space.layers:
            a, b = (torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in (layer.A, layer.B))
            reached.append((layer.B @ a + b @ layer.A).detach())
        for inside, block in zip(space.project(reached), reached, strict=True):
            torch.testing.assert_close(inside, block, rtol=1e-11, atol=1e-12)
        outside = vectors.random(space.tensors, space.names, seed=0, stream="test")
        left_over = vectors.axpy(-1.0, space.project(outside), outside)
        for block, layer in zip(left_over, space.layers, strict=True):
            assert float((layer.B.mT @ block).abs().max()) < 1e-12
            assert float((block @ layer.A.mT).abs().max()) < 1e-12


def test_with_b_zero_the_directions_b_a_remain(tiny_lora, batches) -> None:
    model = tiny_lora(trained=False)
    with parameter_space(model, "tangent") as space:
        assert space.dimension == sum(len(layer.B) * 2 for layer in space.layers)
        projected = space.project(Objective(model, batches).gradient(space.tensors))
        for block, layer in zip(projected, space.layers, strict=True):
            assert float(block.norm()) > 1e-6
            rows = torch.linalg.qr(layer.A.detach().mT).Q
            torch.testing.assert_close(block @ rows @ rows.mT, block, rtol=1e-11, atol=1e-14)


def test_the_projection_does_not_depend_on_the_gauge(tiny_lora) -> None:
    model, other = tiny_lora(), tiny_lora()
    with torch.no_grad():
        for layer in adapted_layers(other):
            mix = torch.randn(2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
            layer.A.copy_(mix @ layer.A)
            layer.B.copy_(layer.B @ mix.inverse())
    found = [parameter_space(m, "tangent").random_direction(seed=0, stream="test") for m in (model, other)]
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_column_basis_counts_the_rank_above_rounding(dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 2, generator=generator, dtype=dtype)
    doubled = torch.cat([matrix, matrix @ torch.tensor([[1.0], [3.0]], dtype=dtype)], dim=1)
    basis = column_basis(doubled)
    assert basis.shape == (6, 2)
    torch.testing.assert_close(basis @ basis.mT @ matrix, matrix, rtol=1e-5, atol=1e-6)
    assert column_basis(torch.zeros(6, 2, dtype=dtype)).shape == (6, 0)
