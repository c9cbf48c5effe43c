from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import Objective, SettingsError, linearise, parameter_space
from analysis.sharpness import gradient_norms


def test_norms_are_those_of_the_singular_values(tiny_lora, batches) -> None:
    model = tiny_lora()
    with parameter_space(model, "full") as space:
        at = linearise(Objective(model, batches), space)
        found = gradient_norms(at.gradient, space.names, rank=2)
    values = [np.linalg.svd(block.numpy(), compute_uv=False) for block in at.gradient]
    assert found.norm == pytest.approx(at.gradient_norm, rel=1e-12)
    assert found.top_rank == pytest.approx(np.sqrt(sum((v[:2] ** 2).sum() for v in values)), rel=1e-12)
    assert found.ky_fan == pytest.approx(sum(v[:2].sum() for v in values), rel=1e-12)
    assert found.nuclear == pytest.approx(sum(v.sum() for v in values), rel=1e-12)
    assert [layer.name for layer in found.layers] == list(space.names)
    np.testing.assert_allclose([layer.singular_values for layer in found.layers], [v[:2] for v in values], rtol=1e-10)
    assert found.top_rank <= found.ky_fan <= np.sqrt(2 * len(values)) * found.top_rank


def test_at_full_rank_the_top_part_is_the_whole_gradient(tiny_lora, batches) -> None:
    model = tiny_lora()
    with parameter_space(model, "full") as space:
        at = linearise(Objective(model, batches), space)
        found = gradient_norms(at.gradient, space.names, rank=100)
    assert found.top_rank == pytest.approx(found.norm, rel=1e-12)
    assert found.ky_fan == pytest.approx(found.nuclear, rel=1e-12)


def test_a_large_block_is_approximated_and_has_no_nuclear_norm() -> None:
    generator = np.random.default_rng(0)
    blocks = [generator.standard_normal((60, 50)), generator.standard_normal((4, 9))]
    values = [np.linalg.svd(block, compute_uv=False) for block in blocks]
    found = gradient_norms([torch.as_tensor(b) for b in blocks], ["large", "small"], rank=3, exact_size=20)
    assert found.nuclear is None
    assert found.layers[0].nuclear is None
    assert 0.0 < found.layers[0].residual <= 1e-3
    assert found.layers[1].nuclear == pytest.approx(values[1].sum(), rel=1e-12)
    assert found.layers[1].residual == 0.0
    assert found.top_rank == pytest.approx(np.sqrt(sum((v[:3] ** 2).sum() for v in values)), rel=1e-5)


def test_vectors_count_as_one_row_and_convolutions_by_their_rows() -> None:
    vector, convolution = torch.tensor([3.0, 4.0]), torch.arange(24.0).reshape(2, 3, 2, 2)
    found = gradient_norms([vector, convolution], ["bias", "conv"], rank=4)
    assert found.layers[0].singular_values == pytest.approx((5.0,))
    expected = np.linalg.svd(convolution.reshape(2, 12).numpy(), compute_uv=False)
    assert found.layers[1].singular_values == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_rank_of_zero_is_refused() -> None:
    with pytest.raises(SettingsError, match="rank is 0"):
        gradient_norms([torch.ones(2, 2)], ["w"], rank=0)
