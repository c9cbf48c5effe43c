from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import attach, build_optimizer
from bilora.methods import MethodError
from bilora.methods.efficient_flat import ascent_in_b
from tests.driving import Points, in_double, step_gradients
from tests.tiny import as_batch, attached, examples, lora_config, tiny_llama

RHO, SCALING = 0.3, 2.0


def layer(m: int, n: int, *, seed: int, zero_B: bool = False) -> tuple[Any, Tensor]:
    """Factors with the gradients that a dense G gives them, and G."""
    generator = torch.Generator().manual_seed(seed)
    A, B, G = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((4, n), (m, 4), (m, n)))
    if zero_B:
        B.zero_()
    for value, gradient in ((A, SCALING * B.T @ G), (B, SCALING * G @ A.T)):
        value.requires_grad_()
        value.grad = gradient.detach()
    return SimpleNamespace(name=str(seed), A=A, B=B, scaling=SCALING), G


def estimate(A: Tensor, B: Tensor, G: Tensor) -> Tensor:
    """The mean of two projections of G, with orthonormal bases from a singular value decomposition."""
    rows = torch.linalg.svd(A, full_matrices=False)[2]
    columns, values, _ = torch.linalg.svd(B, full_matrices=False)
    columns = columns[:, values > 1e-9]
    return (G @ rows.T @ rows + columns @ columns.T @ G) / 2


def some_layers() -> list[tuple[Any, Tensor]]:
    """Two of one shape, one of another, one fresh (B = 0)."""
    sizes = [(9, 12), (9, 12), (7, 5), (9, 12)]
    return [layer(m, n, seed=index, zero_B=index == 3) for index, (m, n) in enumerate(sizes)]


@pytest.mark.parametrize("per_layer", [True, False])
def test_ascent_equals_the_rule_with_dense_gradients_and_pseudo_inverses(per_layer: bool) -> None:
    found = some_layers()
    layers = [x for x, _ in found]
    moves = ascent_in_b(layers, [x.B for x in layers], rho=RHO, per_layer=per_layer)
    dense = [estimate(x.A.detach(), x.B.detach(), G) for x, G in found]
    total = torch.stack([g.norm() for g in dense]).norm()
    for x, move, g in zip(layers, moves, dense, strict=True):
        E_W = RHO * g / (g.norm() if per_layer else total)
        torch.testing.assert_close(move, E_W @ torch.linalg.pinv(x.A.detach()) / SCALING, rtol=1e-4, atol=1e-7)


def test_it_ascends_inside_the_radius() -> None:
    """The published sign(g) g / ||g|| is |g| / ||g||, whose inner product with G has no sign; this one climbs."""
    found = some_layers()
    layers = [x for x, _ in found]
    for (x, G), move in zip(found, ascent_in_b(layers, [x.B for x in layers], rho=RHO, per_layer=True), strict=True):
        change = SCALING * move @ x.A.detach()
        assert (G * change).sum() > 0.1 * G.norm() * RHO
        assert change.norm() <= RHO * (1 + 1e-6)
    fresh = SCALING * move @ x.A.detach()
    assert fresh.norm() == pytest.approx(RHO, rel=1e-5)  # with B = 0 the estimate lies in Row(A) altogether


def dense_gradients(model: Any, method: Any, batch: dict[str, Tensor]) -> list[Tensor]:
    weights = [model.get_submodule(f.name).base_layer.weight for f in method.weights.factors]
    for weight in weights:
        weight.requires_grad_(True)
    found = torch.autograd.grad(model(**batch).loss, weights)
    for weight in weights:
        weight.requires_grad_(False)
    return list(found)


@pytest.mark.parametrize("scope", ["per-layer", "global"])
def test_steps_follow_the_moving_average_of_directions_at_perturbed_points(scope: str) -> None:
    """Four steps of SGD; each new E_B must be that of the dense gradient at the point where the step's gradient was."""
    model, method = in_double("eflat-lora", rho=RHO, beta=0.6, radius_scope=scope)
    factors: list[Any] = method.weights.factors  # type: ignore[attr-defined]
    optimizer = build_optimizer(method, lr=0.02, max_grad_norm=0.0, optimizer_class=torch.optim.SGD)
    average: list[Tensor] = []
    dense: list[Tensor] = []
    for seed in range(4):
        batch = as_batch(examples(seed=seed))
        start = [f.B.detach().clone() for f in factors]
        moves: list[Tensor] = []

        def seen(_: Any, batch: Any = batch, start: Any = start, moves: Any = moves) -> None:
            moves += [f.B.detach() - b for f, b in zip(factors, start, strict=True)]
            dense[:] = dense_gradients(model, method, batch)

        step_gradients(method, model, batch, seen=seen)
        for index, move in enumerate(moves):
            torch.testing.assert_close(
                move, average[index] if average else torch.zeros_like(move), rtol=1e-3, atol=1e-7
            )
        g = [estimate(f.A.detach(), b + e, G) for f, b, e, G in zip(factors, start, moves, dense, strict=True)]
        norms = [x.norm() for x in g] if scope == "per-layer" else [torch.stack([x.norm() for x in g]).norm()] * len(g)
        new = [
            RHO * x / n @ torch.linalg.pinv(f.A.detach()) / f.scaling for f, x, n in zip(factors, g, norms, strict=True)
        ]
        average = [0.4 * a + 0.6 * e for a, e in zip(average, new, strict=True)] if average else new
        optimizer.step()
        optimizer.zero_grad()


def test_fresh_adapter_is_perturbed_by_rho_in_every_layer() -> None:
    """B = 0 and a learning rate of 0: the second step's perturbation is rho G P_A / ||G P_A|| in each of N layers."""
    model, method = attached("eflat-lora", rho=RHO)
    optimizer = build_optimizer(method, lr=0.0)
    for _ in range(2):
        step_gradients(method, model, as_batch(examples()))
        optimizer.step()
        optimizer.zero_grad()
    layers = len(method.weights.factors)  # type: ignore[attr-defined]
    assert method.means.pop()["perturbation_norm"] == pytest.approx(RHO * layers**0.5, rel=1e-4)


def test_rho_follows_its_schedule() -> None:
    """The direction found after half of a linear schedule is half as long as without one."""
    moves = []
    for schedule in ("constant", "linear"):
        model, method = in_double("eflat-lora", rho=RHO, rho_schedule=schedule)
        build_optimizer(method, lr=0.0, total_steps=8)
        method.steps = 4
        step_gradients(method, model, as_batch(examples()))
        points = Points(model)
        step_gradients(method, model, as_batch(examples()), seen=points)
        moves.append(points.moves[0])
    torch.testing.assert_close(moves[1], moves[0] / 2, rtol=1e-5, atol=1e-9)


def test_variants_and_bad_options_are_refused() -> None:
    with pytest.raises(MethodError, match="the factors of plain LoRA; DoRA, HiRA and DeLoRA have other formulas"):
        attach(tiny_llama(), lora_config(use_dora=True), method="eflat-lora")
    with pytest.raises(MethodError, match=r"option beta is 0.0; expected a number in \(0, 1\]"):
        attached("eflat-lora", beta=0.0)
    with pytest.raises(MethodError, match="expected one of per-layer, global"):
        attached("eflat-lora", radius_scope="layer")
