from __future__ import annotations

import numpy as np
import pytest

from analysis import Objective, SettingsError, parameter_space
from analysis.sharpness import WeightNorm, block_estimate, m_sharpness, objective_blocks, worst_case

FACTORS = (1.0, 2.0, 4.0)


@pytest.fixture
def scaled_blocks(quadratic, symmetric_matrix):
    """Blocks whose loss is a known multiple of one quadratic."""
    hessian, gradient = symmetric_matrix([2.0, 1.0, -1.0]), np.array([0.3, -0.1, 0.2])
    objective, space = quadratic(hessian, gradient)
    blocks = [Objective(objective.model, [c], loss=lambda module, c: (c * module(), 1)) for c in FACTORS]
    return blocks, space, hessian, gradient


def test_one_step_blocks_have_the_closed_form(scaled_blocks) -> None:
    blocks, space, hessian, gradient = scaled_blocks
    found = m_sharpness(blocks, space, radius=0.5)
    x = 0.5 * gradient / np.linalg.norm(gradient)
    one = gradient @ x + 0.5 * x @ hessian @ x
    assert found.increase.values == pytest.approx([c * one for c in FACTORS], rel=1e-12)
    assert found.increase.standard_error == pytest.approx(
        block_estimate([c * one for c in FACTORS]).standard_error, rel=1e-12
    )
    assert (found.converged, found.max_steps, found.norm) == (0.0, 1, "absolute")


def test_the_mean_of_maxima_is_at_least_the_maximum_of_the_mean(tiny_lora, batches) -> None:
    model = tiny_lora()
    blocks = objective_blocks(model, [{key: value[:2] for key, value in batches[0].items()}], examples=1)
    whole = Objective(model, [block.batches[0] for block in blocks], loss=_per_example)
    with parameter_space(model, "full") as space:
        settings = {"radius": 0.3, "norm": WeightNorm("adaptive"), "max_steps": 30, "tolerance": 1e-4}
        found = m_sharpness([Objective(model, block.batches, loss=_per_example) for block in blocks], space, **settings)
        assert found.increase.mean > worst_case(whole, space, **settings).increase > 0.0
    assert found.converged > 0.0


def _per_example(model, batch):
    total, count = Objective(model, [batch]).batch_loss(0)
    return total / count, 1


def test_one_block_is_refused(scaled_blocks) -> None:
    blocks, space, *_ = scaled_blocks
    with pytest.raises(SettingsError, match="1 block"):
        m_sharpness(blocks[:1], space, radius=0.5)
