"""LoRA, and DoRA, which gives every output row of the weight a trained length of its own."""

from __future__ import annotations

from peft import LoraConfig

from bilora.variants.base import AdapterVariant


class LoraVariant(AdapterVariant):
    """Plain LoRA: W + s B A, A Kaiming-uniform, B = 0."""

    name = "lora"
    summary = "W + s B A, started at B = 0"
    source = "Hu et al., ICLR 2022, arXiv 2106.09685 (PEFT)"

    def peft_config(self) -> LoraConfig:
        """See `AdapterVariant.peft_config`."""
        return LoraConfig(**self._lora)


class DoraVariant(AdapterVariant):
    """DoRA: the direction of each row of W + s B A, times a trained magnitude; the norm gets no gradient."""

    name = "dora"
    summary = "m (W + s B A) / ||W + s B A|| by output row, m trained"
    source = "Liu et al., ICML 2024, arXiv 2402.09353 (PEFT)"

    def peft_config(self) -> LoraConfig:
        """See `AdapterVariant.peft_config`."""
        return LoraConfig(**self._lora, use_dora=True)
