"""DeLoRA: rank-one terms of unit norm share one trained strength, which bounds the change of the weight.

This is PEFT's version: it starts at B = 0, where the published one starts at random factors and subtracts a frozen
copy. Norms of B's columns are bounded below by 1e-4, so that the first gradient of B is about 1e4 times that of a
plain factor: harmless under Adam, too much for steps along a raw gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from peft import DeloraConfig

from bilora.methods.options import MethodOptions, nonnegative, option
from bilora.variants.base import AdapterVariant


@dataclass(frozen=True, kw_only=True)
class DeLoraOptions(MethodOptions):
    """Options of DeLoRA."""

    strength: float = option(15.0, nonnegative, "lambda at the start; it is trained, and bounds the relative change")


class DeLora(AdapterVariant):
    """DeLoRA: W + (lambda / r) sum_i b_i a_i^T / (||b_i|| ||a_i||), columns scaled by those of W; lambda is trained."""

    name = "delora"
    summary = "W + lambda / r * sum of unit rank-one terms, columns scaled as W's; lambda trained"
    source = "Bini et al., ICLR 2025, arXiv 2503.18225 (PEFT)"
    refused_on_quantised = "PEFT takes the column norms of the stored weight, and a 4-bit weight is stored packed"
    takes_alpha = False
    options_class = DeLoraOptions
    options: DeLoraOptions

    def peft_config(self) -> DeloraConfig:
        """See `AdapterVariant.peft_config`."""
        return DeloraConfig(**self._common, module_dropout=self.dropout, delora_lambda=self.options.strength)
