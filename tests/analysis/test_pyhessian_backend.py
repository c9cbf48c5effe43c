from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
import torch

from analysis import (
    AnalysisError,
    FullSpace,
    HessianOperator,
    Objective,
    SettingsError,
    eigenvalues,
    parameter_space,
)
from analysis.pyhessian_backend import pyhessian_eigenvalues, pyhessian_trace

pytest.importorskip("pyhessian")


@pytest.mark.parametrize("name", ["full", "lora"])
def test_the_largest_magnitudes_are_those_of_the_dense_hessian(tiny_lora, batches, dense_hessian, name) -> None:
    """Two batches of unequal token counts: PyHessian's own data loader would weigh them by their rows."""
    model = tiny_lora(targets=("q_proj", "v_proj")).eval()
    space = parameter_space(model, name)
    with space:
        exact = np.linalg.eigvalsh(dense_hessian(model, batches, space))
    found = pyhessian_eigenvalues(Objective(model, batches), space, count=2, tolerance=1e-9, max_iterations=600)
    expected = sorted(exact, key=abs)[-2:]
    np.testing.assert_allclose(
        [pair.value for pair in found.top + found.bottom],
        sorted((v for v in expected if v > 0), reverse=True) + sorted(v for v in expected if v <= 0),
        rtol=1e-4,
    )
    assert found.backend == "pyhessian"
    assert found.products > 2


def test_its_residuals_say_what_its_stopping_rule_does_not(tiny_lora, batches) -> None:
    space = parameter_space(tiny_lora().eval(), "full")
    objective = Objective(space.model, batches)
    found = pyhessian_eigenvalues(objective, space, count=2, tolerance=1e-3)
    exact = eigenvalues(HessianOperator(objective, space), top=1, bottom=1, tolerance=1e-9)
    largest = max(abs(pair.value) for pair in exact.top + exact.bottom)
    assert not found.converged
    for pair in found.top + found.bottom:
        assert pair.relative_residual == pytest.approx(pair.residual / largest, rel=2e-2)
        assert pair.converged == (pair.relative_residual <= 1e-3)


def test_the_trace_and_its_error_agree_with_the_dense_hessian(tiny_lora, batches, dense_hessian) -> None:
    model = tiny_lora().eval()
    space = parameter_space(model, "lora")
    with space:
        exact = float(np.trace(dense_hessian(model, batches, space)))
    found = pyhessian_trace(Objective(model, batches), space, tolerance=1e-4, max_products=200)
    assert found.products == found.samples == 200
    assert abs(found.value - exact) < 4 * found.standard_error
    assert not found.converged


def test_nothing_is_left_behind(tiny_lora, batches, snapshot) -> None:
    """Left alone, PyHessian clears the gradients it finds and adds its own, graph and all, to them."""
    model = tiny_lora().train()
    marks: list[weakref.ref[Mark]] = []

    class Mark:
        """Lives as long as the node of the graph that carries it."""

    class Watched(Objective):
        def batch_loss(self, index):
            total, tokens = super().batch_loss(index)
            mark = total.grad_fn.metadata["mark"] = Mark()
            marks.append(weakref.ref(mark))
            return total, tokens

    space = parameter_space(model, "full")
    space.tensors[0].grad = torch.ones_like(space.tensors[0])
    check = snapshot(model)
    pyhessian_eigenvalues(Watched(model, batches), space, max_iterations=2)
    gc.collect()
    check()
    assert marks
    assert all(mark() is None for mark in marks)


def test_parameters_without_curvature_are_left_out(quadratic) -> None:
    hessian = np.diag([5.0, -2.0, 1.0])
    objective, space = quadratic(hessian, np.ones(3))
    space.model.unused = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    wider = FullSpace(space.model, parameters=["w", "unused"])
    found = pyhessian_eigenvalues(objective, wider, tolerance=1e-12, max_iterations=500)
    # Its normalisation divides by the norm plus 1e-6.
    assert found.top[0].value == pytest.approx(5.0, rel=1e-5)


def test_what_it_cannot_do_is_refused(tiny_lora, batches, monkeypatch) -> None:
    model = tiny_lora().eval()
    objective = Objective(model, batches)
    with pytest.raises(AnalysisError, match="cannot project onto the tangent space"):
        pyhessian_eigenvalues(objective, parameter_space(model, "tangent"))
    with pytest.raises(SettingsError, match="count=0"):
        pyhessian_eigenvalues(objective, parameter_space(model, "full"), count=0)
    with pytest.raises(SettingsError, match="max_products=3"):
        pyhessian_trace(objective, parameter_space(model, "full"), max_products=3)
    monkeypatch.setitem(sys.modules, "pyhessian", None)
    with pytest.raises(AnalysisError, match="pip install pyhessian"):
        pyhessian_eigenvalues(objective, parameter_space(model, "full"))
