"""AdamW over parameter groups that lie in one piece of memory: one kernel a group, however many layers there are.

An 8B model has hundreds of LoRA factors of a hundred kilobytes. Kernels that take lists of tensors give each factor to
one or two blocks of the GPU and a list of at most some dozens to a launch, so that most of the card waits. Laid out
one after the other, the factors of a group are one vector: norm, clip, AdamW and projection are single kernels that
run at the speed of the memory. `bilora.graphed` lays gradients out as the parameters are. Names, shapes and the
optimizer's state dict stay what they are, so that checkpoints are exchanged with `torch.optim.AdamW`; `torch.save` of
a single parameter, though, writes the piece that it lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import AdamW

_MOMENTS = ("exp_avg", "exp_avg_sq")
_ABSENT = ("foreach", "capturable", "differentiable", "amsgrad")


class FlatAdamW(AdamW):
    """`torch.optim.AdamW(fused=True)` on groups laid out in one piece, see `lay_out`.

    Building it moves the parameters: do so before anything keeps their addresses. A group of several types or devices,
    one whose parameters were moved since, and one in which parameters have taken different numbers of steps (because
    some had no gradient) is updated tensor by tensor. Laying out takes the memory of a group once more for a moment.

    Args:
        params: As AdamW's.
        **options: AdamW's, but for `foreach`, `capturable`, `differentiable`, `amsgrad` and `fused=False`.

    Raises:
        ValueError: If one of these is asked for, or in a state that is loaded.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        asked = [name for name in _ABSENT if options.pop(name, None)]
        if options.pop("fused", None) is False:
            asked.append("fused=False")
        _refuse(asked)
        super().__init__(params, fused=True, **options)
        self._unscaled_elsewhere()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._unscaled_elsewhere()

    def _unscaled_elsewhere(self) -> None:
        # AdamW's fused kernel takes a gradient scaler's scale; ours leaves that, and skipping, to the scaler.
        self._step_supports_amp_scaling = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group and lay its parameters out in one piece."""
        super().add_param_group(param_group)
        lay_out(self.param_groups[-1]["params"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back a state, of this class or of AdamW."""
        _refuse([name for name in _ABSENT for group in state_dict["param_groups"] if group.get(name)][:1])
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["fused"] = True
            parameters = group["params"]
            states = {p: self.state[p] for p in parameters if self.state.get(p)}
            for parameter, state in states.items():
                # AdamW's other implementations count on the CPU.
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=parameter.device)
            if lay_out(parameters) and len(states) == len(parameters):
                counts = {float(state["step"]) for state in states.values()}
                self._lay_out_states(list(states.values()), counted_alike=len(counts) == 1)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; parameters without a gradient are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            if trained:
                self._start(group["params"])
                if len(trained) < len(group["params"]) or not self._update_whole(group):
                    self._update_each(group, trained)
                increment_version(trained)
        return loss

    def _start(self, parameters: Sequence[Tensor]) -> None:
        new = [p for p in parameters if not self.state.get(p)]
        for parameter in new:
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            self.state[parameter] = {"step": step, **{name: torch.zeros_like(parameter) for name in _MOMENTS}}
        if new and len(new) == len(parameters) and in_one_piece(parameters) is not None:
            self._lay_out_states([self.state[p] for p in parameters], counted_alike=True)

    def _lay_out_states(self, states: Sequence[dict[str, Any]], *, counted_alike: bool) -> None:
        # One storage of all counts says that they are equal: only then one count serves for all.
        for name in (*_MOMENTS, "step") if counted_alike else _MOMENTS:
            for state, view in zip(states, copies_in_one_piece([s[name] for s in states]), strict=True):
                state[name] = view

    def _update_whole(self, group: dict[str, Any]) -> bool:
        """Update a group as vectors, and return whether that was possible."""
        parameters = group["params"]
        states = [self.state[p] for p in parameters]
        weights, counts = in_one_piece(parameters), in_one_piece([s["step"] for s in states])
        mean, square = (in_one_piece([s[name] for s in states]) for name in _MOMENTS)
        if weights is None or mean is None or square is None or counts is None:
            return False
        gradients = [p.grad for p in parameters]
        gradient = in_one_piece(gradients)
        if gradient is None:
            gradient = torch.cat([g.reshape(-1) for g in gradients])
        counts += 1
        _update(group, [weights], [gradient], [mean], [square], [counts[0]])
        return True

    def _update_each(self, group: dict[str, Any], trained: Sequence[Tensor]) -> None:
        """Update parameters one by one, each with a count of its own."""
        kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for parameter in trained:
            kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
        if in_one_piece([self.state[p]["step"] for p in group["params"]]) is not None:
            for parameter in group["params"]:
                self.state[parameter]["step"] = self.state[parameter]["step"].clone()
        for alike in kinds.values():
            states = [self.state[p] for p in alike]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            mean, square = ([state[name] for state in states] for name in _MOMENTS)
            _update(group, alike, [p.grad for p in alike if p.grad is not None], mean, square, steps)


def _refuse(asked: Sequence[str]) -> None:
    if asked:
        raise ValueError(f"{asked[0]}: FlatAdamW has no such option; use torch.optim.AdamW")


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
        Whether they lie in one piece, which takes one type and one device.
    """
    if not _one_kind(parameters):
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


def in_one_piece(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return one vector over tensors that follow one another in one storage, in this order; None if they do not.

    Writing to the vector writes to them; `torch.autograd.graph.increment_version` tells autograd.
    """
    if not all(type(t) is Tensor or type(t) is nn.Parameter for t in tensors):
        return None  # distributed tensors and the like have no one place in memory
    held = [t for t in tensors if t.numel()]
    if not held:
        return None
    first, last = held[0], held[-1]
    dtype, size, address = first.dtype, first.element_size(), first.data_ptr()
    count = 0
    for tensor in held:
        if tensor.data_ptr() != address + count * size or tensor.dtype != dtype or not tensor.is_contiguous():
            return None
        count += tensor.numel()
    # Neighbours in memory may be of two storages; what lies between two places of one is of that one.
    if first.untyped_storage().data_ptr() != last.untyped_storage().data_ptr():
        return None
    return first.detach().as_strided((count,), (1,))


def _one_kind(tensors: Iterable[Tensor]) -> bool:
    kinds = {(type(t), t.dtype, t.device) for t in tensors if t.numel()}
    return len(kinds) == 1 and next(iter(kinds))[0] in (Tensor, nn.Parameter)
