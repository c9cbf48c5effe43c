from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilora.methods import MethodError, RwpLora, create_method
from tests.driving import Points, flat, gradient_at, in_double, like, present, step_gradients, train, trained
from tests.tiny import as_batch, attached, examples, moved_off_zero, primary_state

BATCH = as_batch(examples())


def test_absolute_noise_has_the_declared_deviation() -> None:
    model, method = attached("rwp-lora", rho=0.2)
    points = Points(model)
    step_gradients(method, model, BATCH, seen=points)
    (move,) = points.moves
    assert move.numel() == 1856
    # Standard error of the deviation of so many normals: 1.6 %; of their mean: 0.0046.
    assert move.std().item() == pytest.approx(0.2, rel=0.07)
    assert move.mean().item() == pytest.approx(0, abs=0.02)


def test_filter_relative_noise_is_relative_to_the_rms_of_its_row() -> None:
    """The same draw, row by row; on B = 0 nothing is added."""
    moves: list[list[Tensor]] = []
    for mode in ("absolute", "filter-relative"):
        model, method = attached("rwp-lora", rho=0.2, mode=mode)
        moved_off_zero(model)
        with torch.no_grad():
            first_B = method.weights.parameters[1].zero_()
        points = Points(model)
        step_gradients(method, model, BATCH, seen=points)
        moves.append(like(points.moves[0], trained(model)))
    assert first_B.shape[1] == 4
    assert moves[1][1].abs().max() == 0
    for parameter, absolute, relative in zip(trained(model), *moves, strict=True):
        rms = parameter.detach().double().square().mean(dim=1, keepdim=True).sqrt()
        torch.testing.assert_close(relative, absolute * rms, rtol=1e-2, atol=1e-6)


def test_a_step_is_the_gradient_at_the_noisy_point_and_another_one_at_each_step() -> None:
    model, method = in_double("rwp-lora", rho=0.1)
    points = Points(model)
    step_gradients(method, model, BATCH, seen=points)
    found = present(model)
    expected = gradient_at(model, BATCH, like(points.moves[0], trained(model)))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12)
    train(method, model, steps=1, lr=0.0)
    step_gradients(method, model, BATCH, seen=points)
    first, second = points.moves
    assert abs(torch.nn.functional.cosine_similarity(first, second, dim=0)) < 0.1


def test_logged_norm_is_the_change_of_the_product() -> None:
    model, method = attached("rwp-lora", rho=0.1)
    moved_off_zero(model)
    assert isinstance(method, RwpLora)
    factors = method.weights.factors  # type: ignore[attr-defined]

    def products() -> Tensor:
        return flat([f.scaling * f.B.detach().double() @ f.A.detach().double() for f in factors])

    seen = [products()]
    step_gradients(method, model, BATCH, seen=lambda _: seen.append(products()))
    assert method.means.pop()["perturbation_norm"] == pytest.approx((seen[1] - seen[0]).norm().item(), rel=1e-4)


def test_rho_zero_is_lora_bit_for_bit() -> None:
    states = []
    for name, options in (("lora", {}), ("rwp-lora", {"rho": 0.0})):
        model, method = attached(name, dropout=0.2, **options)
        torch.manual_seed(11)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.1}, "has no option 'sigma'"),
        ({"rho": float("nan")}, "option rho is nan; expected a finite number >= 0"),
        ({"mode": "row"}, "option mode is 'row'; expected one of absolute, filter-relative"),
    ],
)
def test_bad_options_are_answered(options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method("rwp-lora", **options)
    assert message in str(error.value)
