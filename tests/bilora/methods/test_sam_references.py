"""The two-pass methods beside the optimizers of the same names in the library `pytorch_optimizer`.

Where its rule differs from ours the test says so: its FSAM takes away the previous average, as the authors' code
does, and its LookSAM decomposes gradients tensor by tensor, so that only a model of one tensor compares.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

from bilora import attach, build_optimizer
from tests.driving import flat, step_gradients, trained
from tests.tiny import TinyMlp, as_batch, examples

library = pytest.importorskip("pytorch_optimizer")

LR, RHO, STEPS = 0.1, 0.3, 6


class OneFactor(nn.Module):
    """One linear layer, of whose adapter the test leaves only B trainable."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 4)

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        logits = torch.tanh(3 * self.first(input_ids.float() / 32))
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels[:, -1] % 4))


def adapted(name: str, module: type[nn.Module] = TinyMlp, **options: Any) -> tuple[Any, Any]:
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=r".*(first|second)")
    model, method = attach(module(), config, method=name, **options)
    if module is OneFactor:
        for key, parameter in model.named_parameters():
            parameter.requires_grad_("lora_B" in key)
        method.weights.parameters = trained(model)
    return model, method


def ours(name: str, module: type[nn.Module] = TinyMlp, **options: Any) -> Tensor:
    model, method = adapted(name, module, **options)
    optimizer = build_optimizer(method, lr=LR, max_grad_norm=0.0, optimizer_class=torch.optim.SGD, momentum=0.9)
    for step in range(STEPS):
        step_gradients(method, model, as_batch(examples(seed=step)))
        optimizer.step()
        optimizer.zero_grad()
    return flat(trained(model))


def theirs(build: Callable[[Any], Any], module: type[nn.Module] = TinyMlp, *, first_pass: bool = True) -> Tensor:
    """Train with a reference optimizer; some run the first pass themselves."""
    model, _ = adapted("lora", module)
    optimizer = build(model)
    for step in range(STEPS):
        batch = as_batch(examples(seed=step))

        def closure(batch: Any = batch) -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = model(**batch).loss
            loss.backward()
            return loss

        if first_pass:
            closure()
        optimizer.step(closure)
    return flat(trained(model))


SGD: dict[str, Any] = {"base_optimizer": torch.optim.SGD, "lr": LR, "momentum": 0.9, "rho": RHO}


@pytest.mark.parametrize("gamma", [0.5, 0.7])
@pytest.mark.parametrize("decoupled", [True, False])
def test_wsam(decoupled: bool, gamma: float) -> None:
    def build(model: Any) -> Any:
        return library.WSAM(model, trained(model), gamma=gamma, decouple=decoupled, **SGD)

    found = ours("wsam", rho=RHO, gamma=gamma, decoupled=decoupled)
    torch.testing.assert_close(found, theirs(build, first_pass=False), rtol=1e-4, atol=1e-6)


def test_sam() -> None:
    found = ours("lora-sam", rho=RHO)
    torch.testing.assert_close(found, theirs(lambda m: library.SAM(trained(m), **SGD)), rtol=1e-4, atol=1e-6)


def test_fsam_as_in_the_authors_code() -> None:
    found = ours("fsam", rho=RHO, sigma=0.8, decay=0.6, average="previous")
    expected = theirs(lambda m: library.FriendlySAM(trained(m), sigma=0.8, lmbda=0.6, **SGD))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_gsam() -> None:
    model, _ = adapted("lora")
    base = torch.optim.SGD(trained(model), lr=LR, momentum=0.9)
    optimizer = library.GSAM(trained(model), base, model, rho_scheduler=SimpleNamespace(step=lambda: RHO), alpha=0.4)
    for step in range(STEPS):
        batch = as_batch(examples(seed=step))

        def closure(batch: Any = batch) -> tuple[None, Tensor]:
            base.zero_grad()
            with torch.enable_grad():
                loss = model(**batch).loss
            loss.backward()
            return None, loss.detach()

        optimizer.step(closure)
    found = ours("gsam", rho=RHO, rho_min=RHO, alpha=0.4)
    torch.testing.assert_close(found, flat(trained(model)), rtol=1e-4, atol=1e-6)


def test_looksam_where_there_is_one_tensor() -> None:
    """The reference needs the first gradients before its step, and computes another gradient also in cheap steps."""
    found = ours("lora-looksam", OneFactor, rho=RHO, k=3, alpha=0.5)
    expected = theirs(lambda m: library.LookSAM(trained(m), k=3, alpha=0.5, **SGD), OneFactor)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
