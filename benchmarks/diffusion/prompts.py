"""Prompts as a UNet takes them: the states of a CLIP text encoder, one vector of each prompt, and six numbers.

SDXL joins two encoders and reads the last layer but one; here there is one, read at its end. Its weights are never
trained after the base, so every prompt is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """What a UNet is given of prompts: `text` (rows, words, width), `pooled` (rows, width), `numbers` (rows, 6)."""

    text: Tensor
    pooled: Tensor
    numbers: Tensor

    def joined(self, other: Prompts) -> Prompts:
        """Return these rows followed by those of `other`."""
        return Prompts(
            torch.cat([self.text, other.text]),
            torch.cat([self.pooled, other.pooled]),
            torch.cat([self.numbers, other.numbers]),
        )


class PromptEncoder:
    """A tokenizer with its text encoder.

    Args:
        tokenizer: Pads to its `model_max_length`.
        encoder: A `CLIPTextModelWithProjection` in evaluation mode.
        side: Side of the pictures in pixels; prompts ask for originals of that size, not cropped.
    """

    def __init__(self, tokenizer: Any, encoder: Any, *, side: int) -> None:
        self.tokenizer, self.encoder, self.side = tokenizer, encoder, side

    def __call__(self, texts: Sequence[str]) -> Prompts:
        """Encode prompts; the empty one is what guidance leads away from."""
        device = next(self.encoder.parameters()).device
        tokens = self.tokenizer(list(texts), padding="max_length", truncation=True)["input_ids"]
        with torch.no_grad():
            found = self.encoder(torch.tensor(tokens, device=device))
        numbers = torch.tensor([self.side, self.side, 0, 0, self.side, self.side], device=device)
        return Prompts(found.last_hidden_state, found.text_embeds, numbers.float().repeat(len(texts), 1))
