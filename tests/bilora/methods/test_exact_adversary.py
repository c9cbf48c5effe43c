from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

from bilora import attach, build_optimizer
from bilora.methods import ExactAdversary, MethodError
from tests.driving import step_gradients, train
from tests.tiny import as_batch, attached, examples, lora_config, moved_off_zero, tiny_llama

RHO, RANK = 0.01, 4
# Eight tokens: no gradient of a weight has a rank above 8, and sketches of width 2 * 4 + 1 lose nothing.
BATCH = as_batch(examples(1))


def dense_gradients(model: Any, method: Any, batch: dict[str, Tensor]) -> list[Tensor]:
    """dL/dW of every adapted layer by autograd, in float64, with the auxiliary as it is."""
    weights = [model.get_submodule(f.name).base_layer.weight for f in method.pair.auxiliary]
    for weight in weights:
        weight.requires_grad_(True)
    found = torch.autograd.grad(model(**batch).loss, weights)
    for weight in weights:
        weight.requires_grad_(False)
    return [g.double() for g in found]


def adversary(method: Any) -> list[Tensor]:
    return [f.scaling * f.B.detach().double() @ f.A.detach().double() for f in method.pair.auxiliary]


def gain(gradients: list[Tensor], change: list[Tensor]) -> float:
    return float(sum((g * e).sum() for g, e in zip(gradients, change, strict=True)))


def closed_form(gradients: list[Tensor], *, rho: float = RHO) -> float:
    """rho sqrt(sum over layers and i <= r of sigma_i^2), the corrected Proposition 3."""
    return rho * float(torch.cat([torch.linalg.svdvals(g)[:RANK] for g in gradients]).norm())


def at_work(name: str, *, rho: float = RHO, **options: Any) -> tuple[Any, Any]:
    """A method on a primary that is no zero map; the auxiliary starts as ever."""
    model, method = attached(name, rho=rho, **options)
    moved_off_zero(model)
    with torch.no_grad():
        for layer in method.pair.auxiliary:
            layer.B.zero_()
    return model, method


def stepped(name: str, *, steps: int, batch: dict[str, Tensor] = BATCH, **options: Any) -> tuple[Any, Any]:
    """A method after steps in which the primary stands still."""
    model, method = at_work(name, **options)
    optimizer = build_optimizer(method, lr=0.0)
    for _ in range(steps):
        step_gradients(method, model, batch)
        optimizer.step()
        optimizer.zero_grad()
    return model, method


def test_gain_reaches_the_closed_form_on_the_sphere() -> None:
    """The first step is LoRA's, so the adversary set after it is that of the dense gradient without any."""
    model, method = stepped("bilora-exact", steps=1)
    change = adversary(method)
    assert torch.stack([e.norm() for e in change]).norm() == pytest.approx(RHO, rel=1e-6)
    assert method.means.pop()["perturbation_norm"] == pytest.approx(RHO, rel=1e-5)
    with method.evaluation():
        gradients = dense_gradients(model, method, BATCH)
    assert gain(gradients, change) == pytest.approx(closed_form(gradients), rel=1e-4)


def test_adversary_is_that_of_the_gradient_at_the_perturbed_point() -> None:
    model, method = stepped("bilora-exact", steps=1, sketch_memory=0.0)
    gradients = dense_gradients(model, method, BATCH)  # with the auxiliary of the first step
    optimizer = build_optimizer(method, lr=0.0)
    step_gradients(method, model, BATCH)
    optimizer.step()
    assert gain(gradients, adversary(method)) == pytest.approx(closed_form(gradients), rel=1e-4)


def test_no_trained_adversary_is_better() -> None:
    """Bi-LoRA's auxiliary climbs for twenty steps on one batch; it gains, and less than what it aims at."""
    model, method = stepped("bilora", steps=20, auxiliary_learning_rate=1e-2)
    gradients = dense_gradients(model, method, BATCH)
    trained = gain(gradients, adversary(method)) / closed_form(gradients)
    model, method = stepped("bilora-exact", steps=20)
    gradients = dense_gradients(model, method, BATCH)
    exact = gain(gradients, adversary(method)) / closed_form(gradients)
    assert 0.1 < trained < exact <= 1 + 1e-4
    assert exact > 0.99


def test_memory_keeps_the_adversary_from_chasing_its_own_gradient() -> None:
    qualities = []
    for memory in (0.0, 0.9):
        model, method = stepped("bilora-exact", steps=20, rho=0.1, sketch_memory=memory)
        gradients = dense_gradients(model, method, BATCH)
        qualities.append(gain(gradients, adversary(method)) / closed_form(gradients, rho=0.1))
    assert qualities[0] < 0.5
    assert qualities[1] > 0.95


def test_memory_mixes_the_gradients_of_the_steps() -> None:
    model, method = at_work("bilora-exact", sketch_memory=0.5)
    optimizer = build_optimizer(method, lr=0.0)
    batches = [{k: v[:, :3] for k, v in as_batch(examples(1, seed=s)).items()} for s in (1, 2)]  # rank <= 3 each
    total: list[Tensor] = []
    for batch in batches:
        gradients = dense_gradients(model, method, batch)
        total = [0.5 * t + g for t, g in zip(total, gradients, strict=True)] if total else gradients
        step_gradients(method, model, batch)
        optimizer.step()
        optimizer.zero_grad()
    assert gain(total, adversary(method)) == pytest.approx(closed_form(total), rel=1e-4)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_does_not_change_the_adversary(reentrant: bool) -> None:
    changes = []
    for checkpointing in (False, True):
        model, method = at_work("bilora-exact")
        if checkpointing:
            model.enable_input_require_grads()
            with warnings.catch_warnings():
                # The newer name is not in every version of transformers that is supported.
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        train(method, model, steps=3)
        changes.append(torch.cat([e.flatten() for e in adversary(method)]))
    torch.testing.assert_close(changes[1], changes[0], rtol=1e-3, atol=1e-6)


def test_the_auxiliary_is_set_and_not_trained() -> None:
    model, method = attached("bilora-exact")
    assert isinstance(method, ExactAdversary)
    optimizer = build_optimizer(method, lr=1e-2)
    step_gradients(method, model, BATCH)
    assert all(p.grad is None and not p.requires_grad for p in method.auxiliary_parameters())
    with method.evaluation():
        pass
    assert not any(p.requires_grad for p in method.auxiliary_parameters())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in method.weights.parameters}


def test_state_brings_the_adversary_back_in_a_process_with_another_seed() -> None:
    _, first = stepped("bilora-exact", steps=2)
    torch.manual_seed(12345)
    _, second = attach(tiny_llama(), lora_config(), method="bilora-exact", rho=RHO)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(adversary(first), adversary(second), strict=True))
    _, other = attach(tiny_llama(), lora_config(r=2), method="bilora-exact")
    with pytest.raises(MethodError, match="resume with the adapter and the auxiliary_rank"):
        other.load_state_dict(first.state_dict())


def test_a_side_smaller_than_the_rank() -> None:
    """The second layer of this module has 4 outputs; an auxiliary of rank 6 fills what there is."""
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4))
    attached_model, method = attach(
        model, LoraConfig(r=2, target_modules=["0", "2"]), method="bilora-exact", rho=RHO, auxiliary_rank=6
    )

    def forward_backward() -> Tensor:
        loss: Tensor = attached_model(torch.ones(5, 8)).square().mean()
        loss.backward()
        return loss.detach()

    optimizer = build_optimizer(method, lr=0.0)
    method.gradients(forward_backward)
    optimizer.step()
    assert torch.stack([e.norm() for e in adversary(method)]).norm() == pytest.approx(RHO, rel=1e-6)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(MethodError, match=r"option sketch_memory is 1.0; expected a number in \[0, 1\)"):
        attached("bilora-exact", sketch_memory=1.0)
    with pytest.raises(MethodError, match="option sketch_width is 3; expected at least the auxiliary's rank, 4"):
        attached("bilora-exact", sketch_width=3)
    with pytest.raises(MethodError, match=r"knows linear layers and one auxiliary rank; .* has a factor of shape"):
        attach(nn.Sequential(nn.Conv2d(3, 4, 3)), LoraConfig(r=2, target_modules=["0"]), method="bilora-exact")
