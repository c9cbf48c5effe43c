"""The weights that a method trains, and how far a move of them moves the model's weight matrices.

Radii of different methods can be compared only in weight space, so every method logs ||dW||_F over all matrices it
perturbed. Methods see trained weights as a flat list of parameters and one norm, whatever the adapter is: LoRA's
factors, for which r x r Gram matrices give the norm, or the model's own parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from peft import PeftModel
from torch import Tensor, nn

from bilora.adapters import LoraFactors, displacement_norm, lora_factors


class TrainedWeights(ABC):
    """The parameters that descend, in module order."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)

    @abstractmethod
    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """Return ||dW||_F over all weight matrices for the move from `before` to the present values.

        Args:
            before: Earlier values of `parameters`, in their order.

        Returns:
            A scalar fp32 tensor on the parameters' device.
        """


class FullWeights(TrainedWeights):
    """Parameters that are weights themselves."""

    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """See `TrainedWeights.displacement_norm`."""
        return global_norm(torch._foreach_sub([p.detach() for p in self.parameters], list(before)))


class LoraWeights(TrainedWeights):
    """The factors of a LoRA adapter, and whatever else of the model is trained beside them."""

    def __init__(self, parameters: Sequence[nn.Parameter], factors: Sequence[LoraFactors]) -> None:
        super().__init__(parameters)
        self.factors = list(factors)
        paired = {id(p) for f in factors for p in (f.A, f.B)}
        self._others = [index for index, p in enumerate(self.parameters) if id(p) not in paired]

    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """See `TrainedWeights.displacement_norm`; ||s (B A - B0 A0)||_F per layer, from Gram matrices."""
        earlier = {id(p): value for p, value in zip(self.parameters, before, strict=True)}
        # A factor that is not trained has not moved and stands for itself.
        pairs = [(earlier.get(id(f.A), f.A.detach()), earlier.get(id(f.B), f.B.detach())) for f in self.factors]
        norm = displacement_norm(self.factors, pairs)
        if not self._others:
            return norm
        moves = [self.parameters[i].detach() - before[i] for i in self._others]
        joint: Tensor = torch.linalg.vector_norm(torch.stack([norm, global_norm(moves)]))
        return joint


def trained_weights(model: nn.Module) -> TrainedWeights:
    """Return the trained weights of a model: those of its active adapter, or all parameters that require a gradient."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if isinstance(model, PeftModel):
        return LoraWeights(parameters, lora_factors(model, str(model.active_adapters[0])))
    return FullWeights(parameters)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm over all entries of all tensors, a scalar fp32 tensor."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))).float())
    return norm
