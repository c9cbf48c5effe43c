"""What methods with an auxiliary adapter share: a second stock PEFT adapter that works while training only.

The auxiliary stands beside the primary in every layer and takes part in every training pass. Evaluations, early
stopping and exported adapters are those of the primary alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.adapters import AdapterPair
from bilora.methods.base import Method
from bilora.methods.options import MethodOptions, nonnegative, option, optional, positive_integer


@dataclass(frozen=True, kw_only=True)
class AuxiliaryOptions(MethodOptions):
    """Options of every method with an auxiliary adapter."""

    rho: float = option(
        0.05, nonnegative, "radius: sqrt(sum over layers of ||s B2 A2||_F^2), in weight space (paper: 0.05 or 0.1)"
    )
    auxiliary_rank: int | None = option(
        None, optional(positive_integer), "rank of the auxiliary adapter; none takes the primary's"
    )


class AuxiliaryMethod(Method):
    """A method that perturbs the weights by an auxiliary adapter's product."""

    options_class = AuxiliaryOptions
    options: AuxiliaryOptions
    perturbs = "W, by the auxiliary product s B2 A2"
    radius_convention = "sqrt(sum over layers of ||s B2 A2||_F^2), s = alpha / r inside: the true change of the weights"
    cost_rule = "1"
    #: Whether the auxiliary is trained by gradients.
    trains_auxiliary: ClassVar[bool] = True

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the primary adapter and the auxiliary beside it; both become active."""
        peft_model = super().attach(model, config)
        self.pair = AdapterPair(
            self.model, auxiliary_rank=self.options.auxiliary_rank, auxiliary_trained=self.trains_auxiliary
        )
        self._scalings = torch.tensor([layer.scaling for layer in self.pair.auxiliary])
        return peft_model

    def follow(self) -> None:
        """See `Method.follow`."""
        super().follow()
        self.pair.follow()

    def auxiliary_parameters(self) -> list[Tensor]:
        """Return A and B of every layer's auxiliary."""
        return [p for f in self.pair.auxiliary for p in (f.A, f.B)]

    @property
    def scalings(self) -> Tensor:
        """The scaling s of every layer, fp32 (layers,), on the factors' device."""
        self._scalings = self._scalings.to(self.pair.auxiliary[0].A.device)
        return self._scalings

    def evaluation(self) -> AbstractContextManager[None]:
        """Switch the auxiliary off."""
        return self.pair.auxiliary_off()

    def exporting(self) -> AbstractContextManager[None]:
        """Let `model.save_pretrained` write the primary only."""
        return self.pair.primary_saved_alone()
