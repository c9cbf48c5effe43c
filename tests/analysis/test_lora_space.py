from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import DirectionError, Objective, SpaceError, parameter_space, vectors
from analysis.spaces import adapted_layers, balanced_factors


def rescale(model, factor: float) -> None:
    """Multiply every A by a factor and divide every B by it; the model stays the same function."""
    with torch.no_grad():
        for layer in adapted_layers(model):
            layer.A.mul_(factor)
            layer.B.div_(factor)


@pytest.mark.parametrize(("m", "n", "r"), [(7, 5, 3), (4, 9, 1), (3, 4, 6)])
def test_balanced_factors_keep_the_product_and_have_equal_gram_matrices(m, n, r) -> None:
    generator = torch.Generator().manual_seed(0)
    a = 5.0 * torch.randn(r, n, generator=generator, dtype=torch.float64)
    b = 0.1 * torch.randn(m, r, generator=generator, dtype=torch.float64)
    balanced_a, balanced_b = balanced_factors(a, b)
    assert balanced_a.shape == a.shape
    assert balanced_b.shape == b.shape
    torch.testing.assert_close(balanced_b @ balanced_a, b @ a, rtol=1e-12, atol=1e-13)
    gram = balanced_b.mT @ balanced_b
    torch.testing.assert_close(balanced_a @ balanced_a.mT, gram, rtol=1e-12, atol=1e-13)
    values = torch.linalg.svdvals(b @ a)[: min(m, n, r)]
    torch.testing.assert_close(gram.diagonal()[: len(values)], values, rtol=1e-10, atol=1e-13)


def test_balanced_factors_do_not_depend_on_the_factorisation() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, mix = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((3, 5), (7, 3), (3, 3)))
    for one, other in zip(balanced_factors(a, b), balanced_factors(mix @ a, b @ mix.inverse()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_a_product_of_lower_rank_is_balanced_too() -> None:
    b = torch.zeros(4, 2, dtype=torch.float64)
    b[:, 0] = 1.0
    a = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    balanced_a, balanced_b = balanced_factors(a, b)
    torch.testing.assert_close(balanced_b @ balanced_a, b @ a, rtol=1e-12, atol=1e-13)
    assert float(balanced_b[:, 1].norm()) < 1e-7


def test_the_balanced_model_is_the_same_function(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    before = objective.value()
    with parameter_space(model, "lora"):
        assert objective.value() == pytest.approx(before, rel=1e-13)


def test_value_and_gradient_norm_do_not_depend_on_the_gauge(tiny_lora, batches) -> None:
    norms, raw = [], []
    for factor in (1.0, 4.0, 0.25):
        model = tiny_lora()
        rescale(model, factor)
        objective = Objective(model, batches)
        with parameter_space(model, "lora") as space:
            norms.append(vectors.norm(objective.gradient(space.tensors)))
        factors = [t for layer in adapted_layers(model) for t in (layer.A, layer.B)]
        raw.append(vectors.norm(objective.gradient([t.requires_grad_() for t in factors])))
    np.testing.assert_allclose(norms, norms[0], rtol=1e-9)
    assert max(raw) > 1.5 * min(raw)


def test_displacement_norm_is_that_of_the_product_formed_explicitly(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "lora") as space:
        for length in (1e-3, 1.0, 50.0):
            step = vectors.scale(space.random_direction(seed=1, stream="test"), length)
            squares = [
                ((layer.B + b) @ (layer.A + a) - layer.B @ layer.A).square().sum().item() * layer.scaling**2
                for layer, a, b in zip(space.layers, step[::2], step[1::2], strict=True)
            ]
            assert space.displacement_norm(step) == pytest.approx(sum(squares) ** 0.5, rel=1e-9)


def test_a_tiny_displacement_is_not_lost_in_cancellation(tiny_lora) -> None:
    """At 1e-9 the product of the moved factors less B A keeps seven digits in float64; the factored form keeps all."""
    with parameter_space(tiny_lora(), "lora") as space:
        direction = space.random_direction(seed=1, stream="test")
        first_order = [
            layer.scaling * (layer.B @ a + b @ layer.A)
            for layer, a, b in zip(space.layers, direction[::2], direction[1::2], strict=True)
        ]
        found = space.displacement_norm(vectors.scale(direction, 1e-9))
        assert found == pytest.approx(1e-9 * vectors.norm([t.detach() for t in first_order]), rel=3e-9)


def test_along_the_gauge_orbit_the_weights_move_to_second_order(tiny_lora) -> None:
    """With a = e A and b = -e B the change is -s e^2 B A, left over when two terms of order e cancel."""
    with parameter_space(tiny_lora(), "lora") as space:
        epsilon = 1e-3
        step = []
        for layer in space.layers:
            step += [epsilon * layer.A.detach(), -epsilon * layer.B.detach()]
        expected = epsilon**2 * vectors.norm([(t.scaling * t.B @ t.A).detach() for t in space.layers])
        assert space.displacement_norm(step) == pytest.approx(expected, rel=1e-6)


def test_the_radius_is_reached_at_the_first_of_several_crossings(tiny_lora) -> None:
    """Shrinking both factors by 1 - t moves W by (2 t - t^2) s B A: up to t = 1, back to zero at 2, and up again."""
    with parameter_space(tiny_lora(targets=["q_proj"]), "lora") as space:
        (layer,) = space.layers
        step = [-layer.A.detach(), -layer.B.detach()]
        size = (layer.scaling * layer.B @ layer.A).norm().item()
        t = space.scale_to_radius(step, 0.75 * size)
        assert t == pytest.approx(0.5, rel=1e-6)


def test_a_direction_that_moves_nothing_is_refused(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "lora") as space:
        zero = vectors.zeros_like(space.tensors)
        with pytest.raises(DirectionError, match=r"no multiple reaches radius 0\.1"):
            space.scale_to_radius(zero, 0.1)


def test_an_untrained_adapter_is_refused_and_left_untouched(tiny_lora, snapshot) -> None:
    model = tiny_lora(trained=False)
    check = snapshot(model)
    with pytest.raises(SpaceError, match=r"an untrained adapter.*full or the tangent"):
        parameter_space(model, "lora").__enter__()
    check()
