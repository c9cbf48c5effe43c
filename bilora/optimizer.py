"""The optimizer of a method: its parameter groups, one gradient clip per group, and the method's own step hook.

Every group is clipped on its own. One joint clip, as a Trainer would do it, couples Bi-LoRA's two adapters: a
large auxiliary gradient would shrink the primary's step. Clip and projection are hooks on the optimizer itself,
so that they run under any training loop, after a gradient scaler has unscaled and never on a skipped step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from bilora.devices import scale_
from bilora.flat import in_one_piece
from bilora.methods.base import Method
from bilora.shards import local_all, shards, summed
from bilora.weights import global_norm

# Of torch.nn.utils.clip_grad_norm_, which divides by the norm plus so much.
_CLIP_MARGIN = 1e-6


def build_optimizer(
    method: Method,
    *,
    lr: float,
    weight_decay: float = 0.0,
    max_grad_norm: float = 1.0,
    optimizer_class: type[Optimizer] = AdamW,
    total_steps: int | None = None,
    **optimizer_options: Any,
) -> Optimizer:
    """Build the optimizer of an attached method and hook the method into its step.

    Args:
        method: A method whose `attach` has been called.
        lr: Peak learning rate of the primary group.
        weight_decay: Decoupled weight decay of the primary group.
        max_grad_norm: L2 norm to which the gradient of each group is clipped; 0 switches clipping off.
        optimizer_class: Any torch optimizer that knows `maximize` (if the method ascends).
        total_steps: How many steps the optimizer will take; only methods with a schedule of their own need it.
        **optimizer_options: Passed on, for example `betas` or `fused`.

    Returns:
        The optimizer. Its `step` clips, lets the method act before and after, and counts the method's steps.

    Raises:
        MethodError: If the method is not attached, or cannot be trained as the weights are sharded.

    Shard the model (FSDP2's `fully_shard`) before; several ranks call this together.
    """
    method.follow()
    groups = method.parameter_groups(learning_rate=lr, weight_decay=weight_decay)
    optimizer = optimizer_class(groups, lr=lr, **optimizer_options)  # type: ignore[call-arg]

    # A fused optimizer would have a gradient scaler leave unscaling to its kernel, behind the clip, and would be
    # called on steps that overflow; told that it cannot, the scaler unscales first and skips such steps.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    method.bind(optimizer, total_steps=total_steps)

    def before_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        method.before_step()
        for group in optimizer.param_groups:
            # A method names the role of every group beyond the primary's.
            name = f"{group['role']}_grad_norm" if "role" in group else "grad_norm"
            method.means.add(name, clip_gradients(group["params"], max_grad_norm))

    def after_step(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        method.after_step()
        method.steps += 1

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)
    return optimizer


def clip_gradients(parameters: list[Tensor], max_norm: float) -> Tensor:
    """Scale the gradients of `parameters` so that their joint L2 norm is at most `max_norm` (0: leave them).

    Returns:
        The norm before clipping, a scalar tensor on the gradients' device.
    """
    gradients = local_all([p.grad for p in parameters if p.grad is not None])
    group = shards(parameters)
    if group is not None:
        total = summed(global_norm(gradients).square(), group).sqrt()
        if max_norm > 0:
            scale_(gradients, (max_norm / (total + _CLIP_MARGIN)).clamp(max=1.0))
        return total
    vector = in_one_piece(gradients)
    if vector is not None:
        # The same rule in two kernels, however many factors there are.
        norm: Tensor = torch.linalg.vector_norm(vector)
        if max_norm > 0:
            vector.mul_((max_norm / (norm + _CLIP_MARGIN)).clamp(max=1.0))
        return norm
    if max_norm > 0:
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return torch.nn.utils.get_total_norm(gradients)
