"""Measurements over two gloo processes equal those of one: batches shared out unequally, matrices sharded as well."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis import (
    EmpiricalFisherOperator,
    FullSpace,
    GaussNewtonOperator,
    HessianOperator,
    Objective,
    SettingsError,
    SpaceError,
    eigenvalues,
    extreme_eigenvalues,
    shard_model,
    trace,
    worst_case,
)
from analysis.scores import accuracy
from analysis.sharding import whole
from benchmarks.on_ranks import on_ranks
from tests.tiny import as_batch, attached, examples, moved_off_zero

# Three batches over two ranks: one has two, the other has one and, where all ranks must run together, a pass that does
# not count. Rows have unequally many scored tokens, and batches unequally many rows.
BATCHES = [as_batch(examples(5, seed=1)), as_batch(examples(3, seed=2)), as_batch(examples(4, seed=3))]


def subject(*, sharded: bool = False) -> tuple[nn.Module, FullSpace]:
    """A tiny Llama with an adapter, in float64; three of its sides are odd shares of two ranks."""
    model, _ = attached("lora")
    moved_off_zero(model)
    model.double()
    space = FullSpace(model)
    if sharded:
        space = FullSpace(shard_model(model))
    return model, space


def measured(sharded: bool) -> dict[str, Tensor]:
    model, space = subject(sharded=sharded)
    objective = Objective(model, BATCHES)
    found: dict[str, object] = {"value": objective.value(), "accuracy": accuracy(objective)}
    routes = ("reverse",) if sharded else ("reverse", "forward", "difference")
    with space:
        value, gradient = objective.value_and_gradient(space.tensors)
        found |= {"value again": value} | {f"gradient {i}": whole(block).clone() for i, block in enumerate(gradient)}
        operators = {route: HessianOperator(objective, space, route=route, graph_budget_bytes=0) for route in routes}
        if not sharded:
            operators["kept graph"] = HessianOperator(objective, space)
            operators["gauss-newton"] = GaussNewtonOperator(objective, space)
        direction = space.random_direction(seed=3, stream="test")
        for name, operator in operators.items():
            product = operator.matvec(direction)
            found |= {f"{name} product {i}": whole(block) for i, block in enumerate(product)}
        operator = operators["reverse"]
        spectrum = eigenvalues(operator, top=2, bottom=1, tolerance=1e-8, max_products=300, basis_size=12)
        found |= {"top": [pair.value for pair in spectrum.top], "bottom": spectrum.bottom[0].value}
        ends = extreme_eigenvalues(operator, tolerance=1e-6, max_products=80, start=gradient)
        found |= {"largest": ends.top[0].value, "smallest": ends.bottom[0].value}
        found["trace"] = trace(operator, tolerance=1e-3, max_products=30, basis_size=8).value
    if not sharded:
        found["worst case"] = worst_case(objective, space, radius=0.1, max_steps=3).increase
    return {key: torch.as_tensor(value, dtype=torch.float64) for key, value in found.items()}


def agree(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for key, value in found.items():
        # Differences of gradients divide rounding by their step.
        tolerance = 1e-6 if key.startswith("difference") else 1e-8
        error = float((value - expected[key]).norm() / expected[key].norm())
        assert error <= tolerance, (key, error)


def _both() -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    return measured(False), measured(True), _refusals()


def _refusals() -> list[str]:
    model, space = subject(sharded=True)
    said: list[str] = []
    with pytest.raises(SpaceError) as needs_rows:
        worst_case(Objective(model, BATCHES), space, radius=0.1)
    said.append(str(needs_rows.value))
    for options in ({"route": "forward"}, {"compile_layers": True}):
        with pytest.raises(SettingsError) as refused:
            HessianOperator(Objective(model, BATCHES), space, **options)
        said.append(str(refused.value))
    for operator in (GaussNewtonOperator, EmpiricalFisherOperator):
        with pytest.raises(SettingsError) as refused:
            operator(Objective(model, BATCHES), space)
        said.append(str(refused.value))
    return said


@pytest.mark.slow
def test_values_gradients_products_and_eigenvalues_equal_those_of_one_process(tmp_path: Path) -> None:
    expected = measured(False)
    for shared, sharded, said in on_ranks(_both, tmp_path):
        agree(shared, expected)
        agree(sharded, expected)
        assert "sharded over ranks" in said[0]
        assert all("reverse route" in message for message in said[1:])


def test_a_model_is_sharded_over_ranks_or_not_at_all() -> None:
    model, _ = subject()
    with pytest.raises(SpaceError, match="torchrun"):
        shard_model(model)
