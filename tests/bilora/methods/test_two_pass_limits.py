"""Where the two-pass methods become SAM, LoRA, or each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilora import build_optimizer, create_method
from tests.driving import flat, present, step_gradients, train, trained
from tests.tiny import as_batch, attached, examples, moved_off_zero

Setting = tuple[str, dict[str, Any]]
LORA: Setting = ("lora", {})
SAM: Setting = ("lora-sam", {"rho": 0.2})


def end(setting: Setting, *, dropout: float = 0.2) -> torch.Tensor:
    name, options = setting
    model, method = attached(name, dropout=dropout, **options)
    torch.manual_seed(11)
    train(method, model, steps=4, fresh=True)
    return flat(trained(model))


@pytest.mark.parametrize(
    ("setting", "same"),
    [
        (("lora-looksam", {"rho": 0.2, "k": 1}), SAM),
        (("lora-esam", {"rho": 0.2, "beta": 1, "gamma": 1}), SAM),
        (("lora-esam", {"rho": 0.2, "beta": 1, "gamma": 1, "as_published": True}), SAM),
        (("wsam", {"rho": 0.2, "gamma": 0.5, "decoupled": False}), SAM),
        (("gsam", {"rho": 0.2, "rho_min": 0.2, "alpha": 0}), SAM),
        (("fsam", {"rho": 0.2, "sigma": 0}), SAM),
        (("fsam", {"rho": 0.2, "sigma": 0, "average": "previous"}), SAM),
        (("wsam", {"rho": 0.2, "gamma": 0, "decoupled": False}), LORA),
        (("wsam", {"rho": 0.2, "gamma": 0}), LORA),
        (("wsam", {"rho": 0}), LORA),
        (("asam", {"rho": 0}), LORA),
        (("fsam", {"rho": 0}), LORA),
        (("lora-esam", {"rho": 0, "gamma": 1}), LORA),
        (("lora-looksam", {"rho": 0, "k": 3}), LORA),
    ],
    ids=str,
)
def test_limits_hold_bit_for_bit_with_dropout(setting: Setting, same: Setting) -> None:
    assert torch.equal(end(setting), end(same))


@pytest.mark.parametrize(
    "setting", [("gsam", {"rho": 0, "alpha": 0.4}), ("wsam", {"rho": 0, "decoupled": False})], ids=str
)
def test_a_mixture_of_one_gradient_with_itself_is_that_gradient(setting: Setting) -> None:
    torch.testing.assert_close(end(setting), end(LORA), rtol=1e-4, atol=1e-6)


def test_the_limits_are_not_limits_of_a_method_that_does_nothing() -> None:
    assert not torch.allclose(end(SAM), end(LORA), rtol=1e-3, atol=1e-4)


SCOPED: list[Setting] = [
    ("lora-sam", {"rho": 0.3}),
    ("asam", {"rho": 0.3}),
    ("gsam", {"rho": 0.3}),
    ("fsam", {"rho": 0.3, "sigma": 0.5}),
    ("wsam", {"rho": 0.3, "decoupled": False}),
    ("lora-esam", {"rho": 0.3}),
    ("lora-looksam", {"rho": 0.3}),
]


def gradients_of(setting: Setting, batches: list[Any], *, scope: str) -> torch.Tensor:
    """Sum over the batches of what the method makes of each one's share of the loss."""
    name, options = setting
    model, method = attached(name, sam_scope=scope, **options)
    moved_off_zero(model)
    for batch in batches:
        step_gradients(method, model, batch, weight=1 / len(batches))
    return flat(present(model))


@pytest.mark.parametrize("setting", SCOPED, ids=str)
def test_micro_batch_scope_over_one_micro_batch_is_step_scope(setting: Setting) -> None:
    batch = as_batch(examples())
    assert torch.equal(
        gradients_of(setting, [batch], scope="micro-batch"), gradients_of(setting, [batch], scope="step")
    )


@pytest.mark.parametrize("setting", [s for s in SCOPED if s[0] not in ("fsam", "lora-looksam")], ids=str)
def test_micro_batch_scope_over_four_is_the_mean_of_four(setting: Setting) -> None:
    """Of methods that carry a vector from one micro-batch to the next this cannot hold."""
    batches = [as_batch(examples(8, seed=seed)) for seed in range(4)]
    four = torch.stack([gradients_of(setting, [batch], scope="step") for batch in batches])
    found = gradients_of(setting, batches, scope="micro-batch")
    torch.testing.assert_close(found, four.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_micro_batch_scope_is_another_method_than_step_scope() -> None:
    batches = [as_batch(examples(8, seed=seed)) for seed in range(4)]
    whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    found = gradients_of(SCOPED[0], batches, scope="micro-batch")
    assert not torch.allclose(found, gradients_of(SCOPED[0], [whole], scope="step"), rtol=0.05)


def test_decoupled_wsam_adds_up_the_corrections_of_its_micro_batches() -> None:
    """With plain gradient descent it is the coupled form, whose gradients add up by themselves."""
    ends = []
    for decoupled in (True, False):
        model, method = attached("wsam", rho=0.3, sam_scope="micro-batch", decoupled=decoupled)
        optimizer = build_optimizer(method, lr=0.05, max_grad_norm=0.0, optimizer_class=torch.optim.SGD)
        for seed in range(4):
            step_gradients(method, model, as_batch(examples(8, seed=seed)), weight=0.25)
            if seed % 2:
                optimizer.step()
                optimizer.zero_grad()
        ends.append(flat(trained(model)))
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, _ in SCOPED])
def test_every_two_pass_method_offers_both_scopes(name: str) -> None:
    assert create_method(name).scope == "step"
    assert create_method(name, sam_scope="micro-batch").scope == "micro-batch"
