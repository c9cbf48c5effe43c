"""LoRA-GA: LoRA that starts along the singular vectors of the gradient.

Wang, Yu, Li (NeurIPS 2024, arXiv 2407.05000) choose the start so that the first step of (A, B) goes where full
fine-tuning would go. With dL/dW = U S V^T of the plain model,

    A0 = (m^(1/4) / sqrt(gamma)) V_[1..r]^T,    B0 = (m^(1/4) / sqrt(gamma)) U_[r+1..2r],

and the base keeps W - s B0 A0. That is the formula of the published code (direction ArB2r, scale "stable"): pure
singular vectors, both factors scaled. PEFT's version multiplies B0 by the singular values too and scales B0 alone, so
that its start depends on the scale of the loss; `formula="peft"` selects it. Where ranks estimate from batches of
their own, wrapping the model for data parallelism makes all start where the first rank does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, LoraGAConfig, PeftModel
from torch import Tensor, nn

from bilora.adapters import attach_primary
from bilora.methods.options import MethodOptions, between, one_of, option
from bilora.variants.base import AdapterVariant, VariantError
from bilora.variants.gradients import estimate_gradients
from bilora.variants.start import attach_at_start

# Of the randomised SVD: published, columns beyond the rank and iterations.
_OVERSAMPLING = 4
_ITERATIONS = 4
_SEED_OFFSET = 0x10_4A_6A


@dataclass(frozen=True, kw_only=True)
class LoraGaOptions(MethodOptions):
    """Options of LoRA-GA."""

    gamma: float = option(
        16.0,
        between(0, math.inf, low_allowed=False, high_allowed=False),
        "divisor of the start: both factors are scaled by m^(1/4) / sqrt(gamma)",
    )
    formula: str = option("official", one_of("official", "peft"), "whose start: the published code's, or PEFT's")


class LoraGa(AdapterVariant):
    """LoRA-GA: LoRA started along the singular vectors of the gradient, the function being kept."""

    name = "lora-ga"
    summary = "W - s B0 A0 + s B A, started along singular vectors of the gradient"
    source = "Wang et al., NeurIPS 2024, arXiv 2407.05000"
    refused_on_quantised = "a 4-bit weight has no gradient to start along, and its base could not become W - s B0 A0"
    needs_gradients = True
    changes_base = True
    options_class = LoraGaOptions
    options: LoraGaOptions

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._gradients: dict[str, Tensor] | None = None

    def peft_config(self) -> LoraConfig:
        """Return the shape of the adapter; where it starts is known after `prepare`, and set by `attach` alone."""
        return LoraConfig(**self._lora)

    def prepare(self, model: nn.Module, forward_backward: Callable[[], Any]) -> None:
        """Estimate dL/dW of every adapted layer; a few dozen examples do (published: 64 batches of 2).

        Raises:
            VariantError: If an adapted layer is too small for 2 r singular vectors, or no linear layer.
        """
        self._gradients = estimate_gradients(model, self.peft_config(), forward_backward, smallest=2 * self.rank)

    def attach(self, model: nn.Module, *, start: str | Path | None = None) -> PeftModel:
        """See `AdapterVariant.attach`; the gradients are dropped."""
        self.check_base(model)
        if start is not None:
            return attach_at_start(model, self.peft_config(), start)
        if self._gradients is None:
            raise VariantError(
                "variant 'lora-ga' starts along gradients of the plain model; call "
                "prepare(model, forward_backward) before attach"
            )
        gradients, self._gradients = self._gradients, None
        if self.options.formula == "peft":
            return self._attach_as_peft_does(model, gradients)
        scale = self.options.gamma**-0.5
        factors = {
            name: official_start(gradient, self.rank, scale=scale * len(gradient) ** 0.25, seed=index)
            for index, (name, gradient) in enumerate(gradients.items())
        }
        return attach_at_start(model, self.peft_config(), factors)

    def _attach_as_peft_does(self, model: nn.Module, gradients: dict[str, Tensor]) -> PeftModel:
        for name, gradient in gradients.items():
            layer = model.get_submodule(name)
            layer._peft_loraga_grad = gradient.to(layer.weight.device)  # type: ignore[arg-type]
        config = LoraConfig(
            **self._lora,
            init_lora_weights="lora_ga",
            lora_ga_config=LoraGAConfig(direction="ArB2r", scale="stable", stable_gamma=self.options.gamma),
        )
        return attach_primary(model, config)


def official_start(gradient: Tensor, rank: int, *, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return A0 = scale V_[1..r]^T, shape (r, n), and B0 = scale U_[r+1..2r], shape (m, r), of a gradient (m, n).

    The singular vectors come from a randomised SVD with 4 r columns and 4 iterations, exact where the gradient has
    no more rows or columns than that. Random numbers come from a generator of its own.
    """
    generator = torch.Generator().manual_seed((torch.initial_seed() + _SEED_OFFSET + seed) % 2**63)
    width = min(_OVERSAMPLING * rank, *gradient.shape)
    basis = torch.randn(gradient.shape[1], width, generator=generator).to(gradient)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(gradient.mT @ torch.linalg.qr(gradient @ basis).Q).Q
    rows = torch.linalg.qr(gradient @ basis).Q  # (m, width)
    U, _, Vh = torch.linalg.svd(rows.mT @ gradient, full_matrices=False)
    return scale * Vh[:rank], scale * (rows @ U)[:, rank : 2 * rank]
