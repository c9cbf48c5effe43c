"""CUDA graphs inside a Trainer: its own training step is what is recorded and replayed, see `bilora.graphed`.

So the loss, mixed precision and the division by the number of accumulated batches are the Trainer's, whatever it
makes of them. What it takes from Python in each step, the number of scored tokens, becomes an input of the recording.
Under DDP it is the model inside that is recorded, since DDP decides in Python when its ranks exchange gradients; they
are averaged after the replay where DDP would have done so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bilora.graphed import GraphedBackward
from bilora.ranks import average
from bilora.recording import Batch

if TYPE_CHECKING:
    from bilora.trainer import SharpnessMixin

_ITEMS, _ACCUMULATED = "num_items_in_batch", "accumulated"


class GraphedStep:
    """Forward and backward pass of one micro-batch by replay.

    Args:
        trainer: Whose step it is.
        training_step: The Trainer's own, `training_step(model, inputs, num_items_in_batch)`.
    """

    def __init__(self, trainer: SharpnessMixin, training_step: Callable[..., Tensor]) -> None:
        self._trainer = trainer
        self._training_step = training_step
        self._model: nn.Module | None = None
        self._graphed: GraphedBackward | None = None

    def __call__(self, model: nn.Module, inputs: dict[str, Any], items: Any) -> Tensor:
        """Do what the Trainer's `training_step` does, and return its loss."""
        if self._graphed is None or self._model is not model:
            self._model, self._graphed = model, GraphedBackward(self._trainer.method.model, forward_backward=self._run)
        model.train()
        batch: Batch = dict(self._trainer._prepare_inputs(inputs))
        if items is not None:
            # As a number it would be a recording of its own for every count.
            batch[_ITEMS] = torch.as_tensor(items, device=self._trainer.args.device)
        batch[_ACCUMULATED] = getattr(self._trainer, "current_gradient_accumulation_steps", 1)
        loss = self._graphed(batch)
        if isinstance(model, DistributedDataParallel) and model.require_backward_grad_sync:
            average([p.grad for p in model.parameters() if p.grad is not None])
        return loss

    def _run(self, batch: Batch) -> Tensor:
        # The Trainer takes labels out of what it is given.
        inputs = {name: value for name, value in batch.items() if name not in (_ITEMS, _ACCUMULATED)}
        model = self._model.module if isinstance(self._model, DistributedDataParallel) else self._model
        return self._training_step(model, inputs, batch.get(_ITEMS))


def wrap_on_side_stream(accelerator: Any) -> None:
    """Let DDP be built on a stream of its own.

    It keeps the nodes of autograd that write gradients, which belong to the stream on which they were made, and nothing
    may be recorded that waits for the default stream.
    """
    prepare: Callable[..., nn.Module] = accelerator.prepare_model

    def prepared(model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        if accelerator.device.type != "cuda":
            return prepare(model, *args, **kwargs)
        stream: Any = torch.cuda.Stream(accelerator.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(accelerator.device))
        with torch.cuda.stream(stream):
            wrapped = prepare(model, *args, **kwargs)
        torch.cuda.current_stream(accelerator.device).wait_stream(stream)
        return wrapped

    accelerator.prepare_model = prepared


def refuse_graphs(trainer: SharpnessMixin) -> None:
    """Make sure that a Trainer's steps can be recorded.

    Raises:
        ValueError: If they cannot, with the reason.
    """
    args: Any = trainer.args
    reason = None
    if not trainer.method.replayable:
        reason = f"passes of method {trainer.method.name!r} change from step to step and cannot be replayed"
    elif args.device.type != "cuda":
        reason = f"they need a CUDA device, and this Trainer runs on {args.device.type}"
    elif args.n_gpu > 1 or args.deepspeed or args.fsdp or is_spread(trainer.model):
        reason = "every process needs a GPU and a whole model of its own (torchrun), without DeepSpeed and FSDP"
    elif trainer.accelerator.scaler is not None:
        reason = "a gradient scaler decides from step to step; train with bf16 instead of fp16"
    elif args.torch_empty_cache_steps is not None:
        reason = "torch_empty_cache_steps would empty the cache while a pass is recorded; leave it out"
    if reason is not None:
        raise ValueError(f"cuda_graphs: {reason}, or leave cuda_graphs off")


def is_spread(model: nn.Module | None) -> bool:
    """Whether the parameters of a model lie on several devices."""
    return model is not None and len({parameter.device for parameter in model.parameters()}) > 1
