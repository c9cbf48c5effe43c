"""SDXL's UNet with its training loss inside, so that it trains and is measured like a language model with labels.

The prompt's states come from a text encoder that is never trained; they and the noise are part of a batch. PEFT's
adapters are those of the UNet itself: what is exported fits any diffusers UNet of this shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from benchmarks.diffusion.noise import noised, signal_shares, velocity

#: What a network may predict, in diffusers' names: the noise e, or the velocity v, see `noise`.
EPSILON, VELOCITY = "epsilon", "v_prediction"
#: Where DreamBooth's LoRA goes, in diffusers' names: the attention's four projections.
TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass
class Denoised(BaseOutput):
    """The loss of a batch, a mean over its rows, with what was predicted and wanted (rows, channels, side, side)."""

    loss: Tensor | None = None
    prediction: Tensor | None = None
    wanted: Tensor | None = None


class DenoisingUNet(UNet2DConditionModel):
    """A UNet whose forward pass takes clean pictures, noise and steps, and returns the loss.

    Pictures, noise and loss are float32 at least whatever the type of the weights. As it is made it predicts velocities
    under the schedule of `noise`; `use_schedule` gives it another one.
    """

    #: What it predicts.
    predicts: str = VELOCITY
    signal_shares: Tensor

    # diffusers reads the parent's signature through this: it is what a stored configuration may hold.
    @wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]  # diffusers is untyped
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("signal_shares", signal_shares(), persistent=False)

    def use_schedule(self, shares: Tensor, predicts: str) -> None:
        """Noise pictures by other shares a_t, float32 (steps,), and predict noise or velocity.

        Raises:
            ValueError: If it is to predict anything else.
        """
        if predicts not in (EPSILON, VELOCITY):
            raise ValueError(f"prediction_type {predicts!r}; expected {EPSILON} or {VELOCITY}")
        self.signal_shares = shares.float().to(self.signal_shares.device)
        self.predicts = predicts

    def forward(
        self, clean: Tensor, noise: Tensor, steps: Tensor, text: Tensor, pooled: Tensor, numbers: Tensor
    ) -> Denoised:
        """Return the loss 1/(b d) sum (v - v_t)^2 over the d values of each of b pictures, see `noise`.

        A network that predicts noise has e in the place of v.

        Args:
            clean: Pictures in the network's own form (b, channels, side, side), values in [-1, 1].
            noise: Of the same shape.
            steps: (b,).
            text: States of the prompts (b, words, width).
            pooled: One vector of each prompt (b, width).
            numbers: SDXL's micro-conditioning (b, 6).
        """
        noisy = noised(clean, noise, steps, self.signal_shares)
        predicted = self.predict(noisy, steps, text, pooled, numbers)
        wanted = noise if self.predicts == EPSILON else velocity(clean, noise, steps, self.signal_shares)
        # Means of bfloat16 would be rounded; a float64 model keeps its type.
        wide = torch.promote_types(predicted.dtype, torch.float32)
        return Denoised(
            loss=(predicted.to(wide) - wanted.to(wide)).square().mean(), prediction=predicted, wanted=wanted
        )

    def predict(self, noisy: Tensor, steps: Tensor | int, text: Tensor, pooled: Tensor, numbers: Tensor) -> Tensor:
        """Return what is predicted of noised pictures, in the type of the weights; arguments as in `forward`."""
        kind = self.conv_in.weight.dtype
        found: Tensor = super().forward(
            noisy.to(kind),
            steps,
            encoder_hidden_states=text.to(kind),
            added_cond_kwargs={"text_embeds": pooled.to(kind), "time_ids": numbers},
            return_dict=False,
        )[0]
        return found


def denoising_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """Return the sum over a batch's pictures of their mean squared errors, and their number, for an `Objective`."""
    device = next(model.parameters()).device
    moved = {name: values.to(device) for name, values in batch.items()}
    count = len(moved["clean"])
    return model(**moved).loss * count, count
