"""PiSSA: LoRA that starts at the principal part of the weight and leaves the rest frozen.

The r largest singular triples of W go into the factors, A0 = sqrt(S / s) V^T and B0 = U sqrt(S / s), and the base
keeps W - s B0 A0. What is saved is relative to the original W, see `bilora.residual_base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig, PeftModel
from torch import nn

from bilora.methods.options import MethodOptions, option, optional, positive_integer
from bilora.variants.base import AdapterVariant
from bilora.variants.start import attach_at_start


@dataclass(frozen=True, kw_only=True)
class PissaOptions(MethodOptions):
    """Options of PiSSA."""

    iterations: int | None = option(
        None, optional(positive_integer), "subspace iterations of a randomised SVD (4 and 16 are usual); none: exact"
    )


class Pissa(AdapterVariant):
    """PiSSA: the principal singular triples of W are trained, the residual is frozen."""

    name = "pissa"
    summary = "W - s B0 A0 + s B A, started at the r principal singular triples of W"
    source = "Meng et al., NeurIPS 2024, arXiv 2404.02948 (PEFT)"
    refused_on_quantised = "its base becomes W - s B0 A0, which is not representable in the 4-bit weight at hand"
    changes_base = True
    options_class = PissaOptions
    options: PissaOptions

    def peft_config(self) -> LoraConfig:
        """See `AdapterVariant.peft_config`."""
        count = self.options.iterations
        return LoraConfig(**self._lora, init_lora_weights="pissa" if count is None else f"pissa_niter_{count}")

    def attach(self, model: nn.Module, *, start: str | Path | None = None) -> PeftModel:
        """See `AdapterVariant.attach`."""
        if start is None:
            return super().attach(model)
        self.check_base(model)
        return attach_at_start(model, LoraConfig(**self._lora), start)
