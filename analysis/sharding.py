"""Models and vectors whose rows are spread over ranks, so that what one device cannot hold can be measured.

`shard_model` replaces the matrices of a model's linear layers by `DTensor`s, dealt over the ranks along their rows as
FSDP2 deals them; vectors of the space of these matrices are dealt alike, and a Krylov basis with them. A layer gathers
its matrix when it runs and again when it is differentiated, and what a pass adds to a gradient or product is reduced to
the rows' owners at once: a device holds its rows, and for a moment one whole matrix. All ranks take every pass
together, each on batches of its own.

FSDP2 itself has no second derivatives: its hooks reduce `.grad` after one backward pass, and a model that was wrapped
by `fully_shard` is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Partial, Shard
from torch.nn import functional

from analysis.errors import SpaceError


def is_sharded(tensors: Sequence[Tensor]) -> bool:
    """Whether the rows of tensors are spread over ranks."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def shards(tensors: Sequence[Tensor]) -> Any:
    """Return the process group that tensors are spread over; None if every rank holds all rows.

    Raises:
        SpaceError: Some are spread and others are not, or in another way than `shard_model` does.
    """
    held = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    if not held:
        return None
    mesh = held[0].device_mesh
    alike = all(t.device_mesh == mesh and t.placements == (Shard(0),) for t in held)
    if mesh.ndim != 1 or not alike or len(held) < len(tensors):
        raise SpaceError(
            "some tensors of the space are sharded over ranks and others are not, or along other dimensions; measure "
            "the full space of a model that analysis.shard_model has sharded"
        )
    return mesh.get_group()


def local(tensor: Tensor) -> Tensor:
    """Return the rows that are here, as a plain tensor in the same memory; the tensor itself if it is not sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        rows: Tensor = tensor.to_local()
        return rows.detach()


@dataclass(frozen=True)
class Layout:
    """How a tensor is spread over ranks, and its size."""

    mesh: DeviceMesh
    shape: torch.Size
    stride: tuple[int, ...]


def layout(tensor: Tensor) -> Layout | None:
    """Return how a tensor is spread over ranks; None if it is not."""
    return Layout(tensor.device_mesh, tensor.shape, tensor.stride()) if isinstance(tensor, DTensor) else None


def spread(place: Layout | None, rows: Tensor) -> Tensor:
    """Return rows that are here as a tensor of a layout; the rows themselves if there is none."""
    if place is None:
        return rows
    made: Tensor = DTensor.from_local(rows, place.mesh, (Shard(0),), shape=place.shape, stride=place.stride)
    return made


def like(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return rows that are here as a tensor that is sharded as `tensor` is."""
    return spread(layout(tensor), rows)


def own_rows(tensor: Tensor, whole: Tensor) -> Tensor:
    """Return a whole tensor shared out as `tensor` is; the tensor itself if it is not sharded."""
    if not isinstance(tensor, DTensor):
        return whole
    group = tensor.device_mesh.get_group()
    start, stop = _bounds(len(tensor), distributed.get_world_size(group), distributed.get_rank(group))
    return like(tensor, whole[start:stop].clone())


def refuse_sharded(name: str, tensor: Tensor) -> None:
    """Refuse a sharded matrix on behalf of what needs all of its rows.

    Raises:
        SpaceError: With what can be measured.
    """
    if is_sharded([tensor]):
        raise SpaceError(
            f"{name} is sharded over ranks, where loss, gradients, curvature products, eigenvalues and traces can be "
            "measured, and nothing that compares a move with the rows of the merged matrix; leave the sharpness out"
        )


def whole(tensor: Tensor) -> Tensor:
    """Return all rows, gathered from the ranks."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        full: Tensor = tensor.full_tensor()
        return full


def _bounds(rows: int, ranks: int, index: int) -> tuple[int, int]:
    size = -(-rows // ranks)
    return min(index * size, rows), min((index + 1) * size, rows)


@torch.no_grad()
def add_reduced(target: Tensor, share: Tensor) -> None:
    """Add the sum over ranks of their shares (m, n) to a sharded target, each rank to its own rows."""
    assert isinstance(target, DTensor)
    partial = DTensor.from_local(share.contiguous(), target.device_mesh, (Partial(),), run_check=False)
    local(target).add_(local(partial.redistribute(placements=target.placements)))


class ShardedLinear(nn.Linear):
    """A linear layer whose matrix is gathered whenever it is needed."""

    #: Where the gradient of the matrix goes, and a scalar that it depends on; None for no gradient.
    collected: tuple[Tensor, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Return x W^T + b."""
        target, anchor = self.collected or (None, None)
        output: Tensor = _Gathered.apply(input, anchor, self.weight.detach(), target)  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + self.bias


class _Gathered(torch.autograd.Function):
    """y = x W^T for a sharded W, which is gathered in every pass; a pass that builds no graph adds W's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _: Tensor | None, weight: Tensor, target: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.target = target
        return functional.linear(x, whole(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        if ctx.target is not None and not torch.is_grad_enabled():
            add_reduced(ctx.target, gradient.flatten(0, -2).mT @ x.flatten(0, -2))
        passed: Any = _Transposed.apply(gradient, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        return passed, None, None, None


class _Transposed(torch.autograd.Function):
    """d -> d W, whose own backward pass takes a to a W^T."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return gradient @ whole(weight)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return functional.linear(cotangents[0], whole(weight)), None


@contextmanager
def collecting(model: nn.Module, tensors: Sequence[Tensor], targets: Sequence[Tensor]) -> Iterator[Tensor]:
    """Let backward passes add the gradients of sharded matrices to targets; yields what to ask autograd for."""
    place = {id(tensor): index for index, tensor in enumerate(tensors)}
    anchor = torch.zeros((), device=local(tensors[0]).device, requires_grad=True)
    layers = [m for m in model.modules() if isinstance(m, ShardedLinear) and id(m.weight) in place]
    try:
        for layer in layers:
            layer.collected = targets[place[id(layer.weight)]], anchor
        yield anchor
    finally:
        for layer in layers:
            layer.collected = None


def shard_model(model: nn.Module, layers: Sequence[nn.Module] | None = None) -> nn.Module:
    """Spread the matrices of a model's linear layers over all ranks, in place; every rank holds the same model before.

    Args:
        model: Any module; it computes the same function afterwards, if all ranks run it together.
        layers: Which of its layers; None takes every `nn.Linear` whose matrix nothing else holds, the factors of
            PEFT's adapters left out.

    Returns:
        The model.

    Raises:
        SpaceError: There is no process group, the model is wrapped by FSDP2, or a layer is not linear.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        raise SpaceError("there are no ranks to shard a model over; start the program with torchrun")
    if any(isinstance(module, FSDPModule) for module in model.modules()):
        raise SpaceError("fully_shard's hooks have no second derivatives; measure the model before it is wrapped")
    holders: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    linear = [m for m in model.modules() if type(m) is nn.Linear and holders[id(m.weight)] == 1]
    factors = _factors(model)
    chosen = [m for m in linear if id(m) not in factors] if layers is None else list(layers)
    foreign = {id(m) for m in chosen} - {id(m) for m in linear}
    if not chosen or foreign:
        found = next((f"a {type(m).__name__}" for m in chosen if id(m) in foreign), "no layer")
        raise SpaceError(
            f"found {found} to shard; expected layers of the class nn.Linear whose matrix nothing else holds: give "
            "them as layers="
        )
    device = cast("Tensor", chosen[0].weight).device.type
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    ranks, rank = distributed.get_world_size(), distributed.get_rank()
    for module in chosen:
        weight = cast("nn.Parameter", module.weight)
        start, stop = _bounds(len(weight), ranks, rank)
        rows = weight.detach()[start:stop].clone()
        dealt = spread(Layout(mesh, weight.shape, weight.stride()), rows)
        module.weight = nn.Parameter(dealt, requires_grad=weight.requires_grad)
        module.__class__ = ShardedLinear
    return model


def _factors(model: nn.Module) -> set[int]:
    """Return the identities of all modules inside PEFT layers but their base layers."""
    return {
        id(module)
        for layer in model.modules()
        if hasattr(layer, "base_layer") and hasattr(layer, "active_adapters")
        for name, module in layer.named_modules()
        if not name.startswith("base_layer")
    }
