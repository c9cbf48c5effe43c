from __future__ import annotations

import pytest

from analysis import Objective, linearise, parameter_space, vectors


def test_linearise_gives_the_projected_gradient(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, "tangent") as space:
        at = linearise(objective, space)
        expected = space.project(objective.gradient(space.tensors))
        assert vectors.norm(vectors.axpy(-1.0, expected, at.gradient)) < 1e-14
        assert at.gradient_norm == pytest.approx(vectors.norm(expected), rel=1e-12)
        assert at.loss == pytest.approx(objective.value(), rel=1e-12)
