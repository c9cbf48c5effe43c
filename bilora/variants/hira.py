"""HiRA: the product of the factors multiplies the frozen weight, so that a low rank makes a change of high rank."""

from __future__ import annotations

from peft import HiraConfig

from bilora.variants.base import AdapterVariant


class HiRa(AdapterVariant):
    """HiRA: W + W * (B A), elementwise; there is no scaling."""

    name = "hira"
    summary = "W + W * (B A) elementwise, started at B = 0"
    source = "Huang et al., ICLR 2025, OpenReview TwJrTz9cRS (PEFT)"
    takes_alpha = False

    def peft_config(self) -> HiraConfig:
        """See `AdapterVariant.peft_config`."""
        return HiraConfig(**self._common, hira_dropout=self.dropout)
