from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.errors import SettingsError
from analysis.singular import singular_triplets


def matrix(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    left, _ = np.linalg.qr(generator.standard_normal((rows, len(values))))
    right, _ = np.linalg.qr(generator.standard_normal((columns, len(values))))
    return (left * values) @ right.T


@pytest.mark.parametrize("exact_size", [1, 100])
@pytest.mark.parametrize("shape", [(50, 40), (40, 50)])
def test_triplets_have_the_known_values_whatever_the_route(shape, exact_size) -> None:
    values = 0.8 ** np.arange(30)
    g = matrix(values, *shape)
    found = singular_triplets(torch.as_tensor(g), 4, exact_size=exact_size, tolerance=1e-8)
    np.testing.assert_allclose(found.S, values[:4], rtol=1e-10)
    np.testing.assert_allclose(found.U.T @ found.U, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(g.T @ found.U.numpy(), found.V.numpy() * found.S.numpy(), atol=1e-12)
    np.testing.assert_allclose(g @ found.V.numpy(), found.U.numpy() * found.S.numpy(), atol=1e-7)
    assert found.exact == (exact_size == 100)
    if found.exact:
        np.testing.assert_allclose(found.tail[:26], values[4:], rtol=1e-9)


def test_the_residual_is_what_is_lacking_and_values_are_lower_bounds() -> None:
    g = np.random.default_rng(1).standard_normal((200, 150))
    true = np.linalg.svd(g, compute_uv=False)
    found = singular_triplets(torch.as_tensor(g), 5, exact_size=1, max_iterations=2)
    lacking = np.linalg.norm(g @ found.V.numpy() - found.U.numpy() * found.S.numpy(), axis=0).max() / found.S[0]
    assert found.residual == pytest.approx(float(lacking), rel=1e-9)
    assert found.residual > 1e-3
    assert (found.S.numpy() <= true[:5]).all()


def test_the_global_generator_is_left_alone_and_zero_is_no_trouble() -> None:
    state = torch.get_rng_state()
    found = singular_triplets(torch.zeros(60, 60), 3, exact_size=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.S.tolist() == [0.0, 0.0, 0.0]
    assert found.residual == 0.0


def test_a_rank_above_the_size_gives_what_there_is_and_zero_is_refused() -> None:
    assert singular_triplets(torch.eye(3, 5), 9).S.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(SettingsError, match="rank is 0"):
        singular_triplets(torch.eye(3), 0)
