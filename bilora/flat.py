"""AdamW over parameter groups that lie in one piece of memory: one kernel a group, however many layers there are.

An 8B model has hundreds of LoRA factors of a hundred kilobytes. Kernels that take lists of tensors give each factor to
one or two blocks of the GPU and a list of at most some dozens to a launch, so that most of the card waits. Laid out
one after the other, the factors of a group are one vector: norm, clip, AdamW and projection are single kernels that
run at the speed of the memory. `bilora.graphed` lays gradients out as the parameters are. Names, shapes and the
optimizer's state dict stay what they are, so that checkpoints are exchanged with `torch.optim.AdamW`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import AdamW

_MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatAdamW(AdamW):
    """`torch.optim.AdamW(fused=True)` on groups laid out in one piece, see `lay_out`.

    A group of several types or devices, or one in which a parameter had no gradient once, is updated tensor by tensor.
    Building it moves the parameters: do so before anything keeps their addresses, as a CUDA graph does.

    Args:
        params: As AdamW's.
        **options: AdamW's, but for `fused`, `foreach`, `capturable`, `differentiable` and `amsgrad`.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        unused = {"foreach", "capturable", "differentiable", "amsgrad"}.intersection(options)
        if any(options.pop(name) for name in unused) or not options.pop("fused", True):
            raise ValueError(f"{', '.join(sorted(unused)) or 'fused=False'}: not an option of FlatAdamW; use AdamW")
        self._pieces: dict[int, _Piece] = {}
        # Groups whose parameters have taken different numbers of steps, which AdamW's bias corrections depend on.
        self._uneven: set[int] = set()
        super().__init__(params, fused=True, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group and lay its parameters out in one piece."""
        super().add_param_group(param_group)
        lay_out(self.param_groups[-1]["params"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back a state, of this class or of AdamW."""
        super().load_state_dict(state_dict)
        self._pieces.clear()
        for index, group in enumerate(self.param_groups):
            counts = {float(self.state[p]["step"]) if p in self.state else 0.0 for p in group["params"]}
            (self._uneven.add if len(counts) > 1 else self._uneven.discard)(index)
            if all(p in self.state for p in group["params"]):
                self._lay_out_state(group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; parameters without a gradient are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for index, group in enumerate(self.param_groups):
            trained = [p for p in group["params"] if p.grad is not None]
            if not trained:
                continue
            if any(p not in self.state for p in trained):
                self._start(group["params"])
                self._pieces.pop(index, None)
            gradients = [p.grad for p in trained]
            if len(trained) < len(group["params"]):
                self._uneven.add(index)
            piece = None if index in self._uneven else self._piece(index, group["params"])
            if piece is None:
                states = [self.state[p] for p in trained]
                steps = [state["step"] for state in states]
                torch._foreach_add_(steps, 1)
                moments = [[state[name] for state in states] for name in _MOMENTS]
                _update(group, trained, gradients, moments[0], moments[1], steps)
                continue
            flat = in_one_piece(gradients)
            if flat is None:
                flat = torch.cat([gradient.flatten() for gradient in gradients])
            piece.steps.add_(1)
            vectors = [piece.parameters], [flat], [piece.mean], [piece.square]
            _update(group, *vectors, [piece.steps[0]])
        return loss

    def _piece(self, index: int, parameters: Sequence[Tensor]) -> _Piece | None:
        """Return a group as vectors, unless it is not in one piece; found once, as long as no parameter moves."""
        addresses = [p.data_ptr() for p in parameters]
        known = self._pieces.get(index)
        if known is not None and known.addresses == addresses:
            return known
        states = [self.state[p] for p in parameters]
        found = [in_one_piece(parameters), *(in_one_piece([s[n] for s in states]) for n in (*_MOMENTS, "step"))]
        if any(vector is None for vector in found):
            return None
        self._pieces[index] = _Piece(addresses, *cast("list[Tensor]", found))
        return self._pieces[index]

    def _start(self, parameters: Sequence[Tensor]) -> None:
        for parameter in parameters:
            if parameter not in self.state:
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                moments = {name: torch.zeros_like(parameter) for name in _MOMENTS}
                self.state[parameter] = {"step": step, **moments}
        self._lay_out_state(parameters)

    def _lay_out_state(self, parameters: Sequence[Tensor]) -> None:
        if in_one_piece(parameters) is None:
            return
        states = [self.state[p] for p in parameters]
        for name in ("step", *_MOMENTS):
            tensors = [state[name] for state in states]
            if one_kind(tensors):
                for state, view in zip(states, copies_in_one_piece(tensors), strict=True):
                    state[name] = view


@dataclass(frozen=True)
class _Piece:
    addresses: list[int]
    parameters: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor


def _update(
    group: dict[str, Any],
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
) -> None:
    torch._fused_adamw_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=group["maximize"],
    )


def lay_out(parameters: Sequence[Tensor]) -> bool:
    """Move parameters into one piece of memory, in their order; they stay the same objects.

    Returns:
        Whether they lie in one piece: all of one type and on one device, and not of several groups.
    """
    if not parameters or not one_kind(parameters):
        return False
    if in_one_piece(parameters) is None:
        for parameter, view in zip(parameters, copies_in_one_piece([p.data for p in parameters]), strict=True):
            parameter.data = view
    return True


def copies_in_one_piece(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies of tensors of one type and device, one after the other in one storage."""
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    parts = torch.split(flat, [t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


def one_kind(tensors: Iterable[Tensor]) -> bool:
    """Return whether all tensors have one type and one device."""
    return len({(t.dtype, t.device) for t in tensors}) == 1


def in_one_piece(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return one vector over tensors that follow one another in one storage, in this order; None if they do not.

    Writing to the vector writes to them.
    """
    first, last = tensors[0], tensors[-1]
    dtype, size, address = first.dtype, first.element_size(), first.data_ptr()
    count = 0
    for tensor in tensors:
        if tensor.data_ptr() != address + count * size or tensor.dtype != dtype or not tensor.is_contiguous():
            return None
        count += tensor.numel()
    # Neighbours in memory may be of two storages; what lies between two places of one is of that one.
    if first.untyped_storage().data_ptr() != last.untyped_storage().data_ptr():
        return None
    return first.detach().as_strided((count,), (1,))
