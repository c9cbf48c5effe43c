from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis import Objective, ObjectiveError, causal_lm_loss, parameter_space, vectors


def split(batches):
    """Return every example as a batch of its own."""
    return [
        {key: value[i : i + 1] for key, value in batch.items()}
        for batch in batches
        for i in range(len(batch["input_ids"]))
    ]


def test_value_is_the_mean_over_counted_tokens(tiny_lora, batches, mean_token_loss) -> None:
    model = tiny_lora()
    expected = mean_token_loss(model.eval(), batches).item()
    assert Objective(model, batches).value() == pytest.approx(expected, rel=1e-12)


def test_loss_keeps_float64_and_the_unmasked_labels(tiny_llama, batches) -> None:
    total, count = causal_lm_loss(tiny_llama(), batches[0])
    assert total.dtype == torch.float64
    assert count == int((batches[0]["labels"][:, 1:] != -100).sum())


def test_narrow_logits_are_widened(tiny_llama, batches) -> None:
    total, _ = causal_lm_loss(tiny_llama(dtype=torch.bfloat16), batches[0])
    assert total.dtype == torch.float32


@pytest.mark.parametrize("name", ["full", "lora", "tangent"])
def test_gradient_agrees_with_autograd_on_the_mean(tiny_lora, batches, mean_token_loss, name) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        value, gradient = objective.value_and_gradient(space.tensors)
        expected_value = mean_token_loss(model.eval(), batches)
        expected = torch.autograd.grad(expected_value, space.tensors)
    assert value == pytest.approx(expected_value.item(), rel=1e-12)
    for found, wanted in zip(gradient, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)


def test_splitting_batches_changes_neither_value_nor_gradient(tiny_lora, batches) -> None:
    model = tiny_lora()
    whole, parts = Objective(model, batches), Objective(model, split(batches))
    with parameter_space(model, "full") as space:
        first, gradient = whole.value_and_gradient(space.tensors)
        second, again = parts.value_and_gradient(space.tensors)
    assert second == pytest.approx(first, rel=1e-12)
    assert vectors.norm(vectors.axpy(-1.0, gradient, again)) < 1e-12 * vectors.norm(gradient)


def test_dropout_is_off_and_modes_and_gradients_are_restored(tiny_lora, batches, snapshot) -> None:
    model = tiny_lora(config={"lora_dropout": 0.5}).train()
    model.base_model.model.model.layers[0].mlp.eval()
    check = snapshot(model)
    objective = Objective(model, batches)
    with parameter_space(model, "lora") as space:
        objective.check_determinism(space.tensors)
    assert objective.value() == objective.value()
    check()


def test_evaluations_are_counted(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, "full") as space:
        objective.gradient(space.tensors)
        objective.gradient(space.tensors)
    objective.value()
    assert (objective.evaluations, objective.gradient_evaluations) == (1, 2)


def test_a_tensor_the_loss_does_not_reach_gets_zeros() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    objective = Objective(nn.Identity(), [1], loss=lambda model, batch: (used.square().sum(), 2))
    gradient = objective.gradient([used, unused])
    assert torch.equal(gradient[0], torch.ones(2))
    assert torch.equal(gradient[1], torch.zeros(3))


def test_a_random_loss_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    objective = Objective(nn.Identity(), [1], loss=lambda model, batch: ((weight * torch.rand(2)).sum(), 1))
    with pytest.raises(ObjectiveError, match="not deterministic"):
        objective.check_determinism([weight])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda model, batch: (torch.tensor(float("nan")), 1), "loss of batch 0 is nan"),
        (lambda model, batch: (torch.tensor(1.0), 0), "no token is counted"),
        (lambda model, batch: (torch.tensor(1.0), -3), "counted -3 tokens"),
    ],
)
def test_meaningless_losses_are_refused(loss, message) -> None:
    with pytest.raises(ObjectiveError, match=message):
        Objective(nn.Identity(), [1], loss=loss).value()


def test_missing_labels_missing_batches_and_a_detached_loss_are_refused(tiny_llama, batches) -> None:
    model = tiny_llama()
    with pytest.raises(ObjectiveError, match="no 'labels'"):
        Objective(model, [{"input_ids": batches[0]["input_ids"]}]).value()
    with pytest.raises(ObjectiveError, match="no batches"):
        Objective(model, [])
    with pytest.raises(ObjectiveError, match="does not depend"):
        Objective(model, batches, loss=lambda module, batch: (torch.tensor(1.0), 1)).gradient([model.lm_head.weight])
