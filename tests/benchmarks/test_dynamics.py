from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from analysis.dynamics import Dynamics
from benchmarks.dynamics import DynamicsCallback
from bilora import build_optimizer
from bilora.factors import lora_factors
from tests.tiny import as_batch, attached, examples, one_pass


def trained(name: str, *, every: int, steps: int = 5) -> tuple[Dynamics, list[Any]]:
    """Train by hand as a Trainer would call; also every state of the factors, before each step and at the end."""
    model, method = attached(name)
    optimizer = build_optimizer(method, lr=1e-2)
    callback = DynamicsCallback(method, every=every)
    rows, states = examples(8 * steps), []
    for step in range(steps):
        states.append([(f.A.detach().clone(), f.B.detach().clone()) for f in lora_factors(model)])
        callback.on_step_begin(None, SimpleNamespace(global_step=step), None)
        method.gradients(one_pass(model, as_batch(rows[8 * step : 8 * step + 8])))
        optimizer.step()
        optimizer.zero_grad()
    states.append([(f.A.detach().clone(), f.B.detach().clone()) for f in lora_factors(model)])
    callback.on_train_end(None, SimpleNamespace(global_step=steps), None)
    return callback.finish(), states


def cosine(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    x, y = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return float(x @ y / (x.norm() * y.norm()))


def test_states_are_recorded_before_steps_and_at_the_end() -> None:
    found, states = trained("bilora", every=2)
    assert found.steps == (0, 2, 4, 5)
    for step, recorded in zip(found.steps, found.primary.A, strict=True):
        assert recorded == pytest.approx(cosine([a for a, _ in states[step]], [a for a, _ in states[-1]]), abs=1e-5)
    assert found.primary.B[0] is None  # zero at the start
    assert found.auxiliary is not None
    assert found.auxiliary.A[-1] == pytest.approx(1.0)
    assert found.terms == ()


def test_lora_sams_own_perturbation_is_taken_apart() -> None:
    found, _ = trained("lora-sam", every=1)
    assert found.auxiliary is None
    assert [step for step, _ in found.terms] == [0, 1, 2, 3, 4]
    first, *rest = [terms for _, terms in found.terms]
    assert first.bilinear == first.column == 0.0  # with B = 0, A has no gradient
    for terms in (first, *rest):
        assert terms.coordinates == pytest.approx(0.01, rel=1e-4)  # rho
    assert all(0.0 < terms.bilinear < terms.linear for terms in rest)


def test_recording_does_not_change_training() -> None:
    _, recorded = trained("lora-sam", every=1)
    _, rarely = trained("lora-sam", every=100)
    for one, other in zip(recorded[-1], rarely[-1], strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_a_factor_without_a_gradient_counts_as_not_perturbed() -> None:
    model, method = attached("lora-sam")
    callback = DynamicsCallback(method, every=1)
    state = SimpleNamespace(global_step=0)
    callback.on_step_begin(None, state, None)
    first, *_ = lora_factors(model)
    method.on_ascent([first.A, first.B], [torch.ones_like(first.A), torch.ones_like(first.B)], 0.5)  # type: ignore[attr-defined]
    callback.on_train_end(None, SimpleNamespace(global_step=1), None)
    (_, terms), *_ = callback.finish().terms
    assert terms.coordinates == pytest.approx(0.5 * (first.A.numel() + first.B.numel()) ** 0.5)
