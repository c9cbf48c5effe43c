"""The weights that a method trains, and how far a move of them moves the model's weight matrices.

Radii of different methods can be compared only in weight space, so every method logs ||dW||_F over all matrices it
perturbed. Methods see trained weights as a flat list of parameters and one norm, whatever the adapter is: LoRA's
factors, for which r x r Gram matrices give the norm; another variant's parameters, for which the change of every
weight matrix is formed, one layer at a time; or the model's own parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from peft import PeftModel
from torch import Tensor, nn

from bilora.devices import together
from bilora.effective import AdaptedLayer, adapted_layers, is_plain_lora, precise
from bilora.factor_norms import displacement_norm
from bilora.factors import LoraFactors, lora_factors
from bilora.shards import local, local_all, shards, summed


class TrainedWeights(ABC):
    """The parameters that descend, in module order."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self._group = shards(self.parameters)

    @property
    def sharded(self) -> bool:
        """Whether every rank holds some rows of each parameter only, see `bilora.shards`."""
        return self._group is not None

    def norm(self, vector: Sequence[Tensor]) -> Tensor:
        """Return the L2 norm over all entries of tensors that are shared out as the parameters are, a scalar."""
        norm = global_norm(vector)
        return summed(norm.square(), self._group).sqrt() if self.sharded else norm

    def norms(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the L2 norm of every tensor, shape (len(vectors),)."""
        norms = precise(together(torch._foreach_norm([precise(t) for t in vectors])))
        return summed(norms.square(), self._group).sqrt() if self.sharded else norms

    def dot(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
        """Return the inner product over all entries of two lists of such tensors, a scalar."""
        return summed(global_dot(left, right), self._group)

    def share_along(self, vector: Sequence[Tensor], axis: Sequence[Tensor]) -> Tensor:
        """Return <vector, axis> / ||axis||^2 over all tensors together, and 0 where the axis is 0."""
        square = self.norm(axis).square()
        return torch.where(square > 0, self.dot(vector, axis) / square, torch.zeros_like(square))

    @abstractmethod
    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """Return ||dW||_F over all weight matrices for the move from `before` to the present values.

        Args:
            before: Earlier values of `parameters`, in their order; of sharded ones the rows that are here.

        Returns:
            A scalar tensor on the parameters' device, fp32 or better.
        """


class FullWeights(TrainedWeights):
    """Parameters that are weights themselves."""

    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """See `TrainedWeights.displacement_norm`."""
        return self.norm(torch._foreach_sub(local_all(self.parameters), list(before)))


class LoraWeights(TrainedWeights):
    """The factors of a LoRA adapter, and whatever else of the model is trained beside them."""

    def __init__(self, parameters: Sequence[nn.Parameter], factors: Sequence[LoraFactors]) -> None:
        super().__init__(parameters)
        self.factors = list(factors)
        paired = {id(p) for f in factors for p in (f.A, f.B)}
        self._others = [index for index, p in enumerate(self.parameters) if id(p) not in paired]

    def displacement_norm(self, before: Sequence[Tensor]) -> Tensor:
        """See `TrainedWeights.displacement_norm`."""
        norm = self._adapter_norm({id(p): value for p, value in zip(self.parameters, before, strict=True)})
        if not self._others:
            return norm
        moves = [local(self.parameters[i]) - before[i] for i in self._others]
        joint: Tensor = torch.linalg.vector_norm(together([norm, self.norm(moves).to(norm.dtype)]))
        return joint

    def _adapter_norm(self, earlier: dict[int, Tensor]) -> Tensor:
        """||s (B A - B0 A0)||_F over all layers, from Gram matrices; `earlier` maps the ids of parameters to values."""
        # A factor that is not trained has not moved and stands for itself.
        pairs = [(earlier.get(id(f.A), local(f.A)), earlier.get(id(f.B), local(f.B))) for f in self.factors]
        return displacement_norm(self.factors, pairs)


class VariantWeights(LoraWeights):
    """The parameters of a DoRA, HiRA or DeLoRA adapter, and whatever else of the model is trained beside them.

    Their weight change is no product of factors. A norm costs, for each layer, about what two products B A of shape
    (m, n) cost, and for a moment four such matrices.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], factors: Sequence[LoraFactors], layers: Sequence[AdaptedLayer]
    ) -> None:
        super().__init__(parameters, factors)
        self.layers = list(layers)
        inside = {id(p) for layer in layers for p in layer.parameters}
        self._others = [index for index, p in enumerate(self.parameters) if id(p) not in inside]

    def _adapter_norm(self, earlier: dict[int, Tensor]) -> Tensor:
        norms = []
        for layer in self.layers:
            values = [earlier.get(id(p), p.detach()) for p in layer.parameters]
            norms.append(torch.linalg.vector_norm(layer.change() - layer.change(values)))
        norm: Tensor = torch.linalg.vector_norm(together(norms))
        return norm


def trained_weights(model: nn.Module, *, names: Sequence[str] | None = None) -> TrainedWeights:
    """Return the trained weights of a model: those of its active adapter, or all parameters that require a gradient.

    Args:
        model: A PEFT model or any other.
        names: Which parameters are trained; None takes those that require a gradient.
    """
    named = dict(model.named_parameters())
    parameters = [p for p in named.values() if p.requires_grad] if names is None else [named[name] for name in names]
    if not isinstance(model, PeftModel):
        return FullWeights(parameters)
    adapter = str(model.active_adapters[0])
    factors = lora_factors(model, adapter)
    if all(is_plain_lora(model.get_submodule(f.name), adapter) for f in factors):
        return LoraWeights(parameters, factors)
    return VariantWeights(parameters, factors, adapted_layers(model, adapter))


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm over all entries of all tensors, a scalar tensor, fp32 or better."""
    norm: Tensor = torch.linalg.vector_norm(precise(together(torch._foreach_norm(list(tensors)))))
    return norm


def global_dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Return the inner product over all entries of two lists of tensors of equal shapes, a scalar, fp32 or better."""
    products = [torch.dot(a.flatten(), b.flatten()) for a, b in zip(left, right, strict=True)]
    total: Tensor = precise(together(products)).sum()
    return total
