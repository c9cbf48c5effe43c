"""One forward and backward pass recorded as a CUDA graph, and how it is recorded; `bilora.graphed` replays them.

A recording reads live weights and writes the gradients of all parameters that a pass reaches into one buffer of each
type, in the order in which the parameters lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bilora.attention_masks import masks_without_values

# PyTorch asks for a few passes on a side stream first, so that libraries have made their workspaces.
_WARM_UP = 3

Batch = dict[str, Any]


class GraphError(RuntimeError):
    """A pass cannot be recorded as a CUDA graph."""


@dataclass(frozen=True)
class Recording:
    """A recorded pass.

    Attributes:
        graph: Both passes.
        inputs: The batch that it reads, by name.
        loss: The loss that it writes, a scalar.
        gradients: Parameters with gradients of one type, and these gradients one after the other.
        repeatable: Whether it may be launched in vain: it writes to none of the model's buffers.
        read: Parameters and buffers as they were, so that a launch in vain reads memory that is still theirs.
    """

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    loss: Tensor
    gradients: list[tuple[list[nn.Parameter], Tensor]]
    repeatable: bool
    read: list[Tensor]

    def launch(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Start the pass of a batch; the function returned takes back what it did to the generator."""
        device = self.loss.device
        before = torch.cuda.get_rng_state(device)
        for name, value in batch.items():
            self.inputs[name].copy_(value)
        self.graph.replay()
        return lambda: torch.cuda.set_rng_state(before, device)

    def add_gradients(self) -> None:
        """Add the gradients of the latest launch to `.grad`."""
        for parameters, flat in self.gradients:
            # A copy, since the next replay writes over the buffer while these may still be in use.
            _add_gradients(parameters, flat.clone())


def record(
    run: Callable[[Batch], Tensor],
    batch: Batch,
    *,
    trained: list[nn.Parameter],
    buffers: Sequence[Tensor],
    read: Sequence[Tensor],
    pool: Any,
) -> Recording:
    """Record the passes of a batch; gradients that stood in `.grad` are there again afterwards.

    Args:
        run: Runs both passes of a batch and returns the loss, detached.
        batch: What the model takes, by name; of another batch of its shapes only the tensors may differ.
        trained: The parameters that require a gradient, on one CUDA device.
        buffers: The model's buffers.
        read: All that the passes read of the model.
        pool: Memory pool that recordings share.

    Raises:
        GraphError: If the passes cannot be recorded, for example because they wait for the device.
    """
    inputs = {name: value.clone() for name, value in batch.items() if isinstance(value, Tensor)}
    before = [p.grad for p in trained]
    versions = [buffer._version for buffer in buffers]
    device = trained[0].device
    try:
        stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with masks_without_values(batch):
            with torch.random.fork_rng([device]), torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    _forget(trained)
                    run(batch | inputs)
            torch.cuda.current_stream(device).wait_stream(stream)
            _forget(trained)
            torch.cuda.empty_cache()
            graph = torch.cuda.CUDAGraph()
            # Other threads (NCCL's watchdog, one that pins batches) may call CUDA meanwhile.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                loss = run(batch | inputs)
                gradients = _flat_gradients(trained)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise GraphError(
            f"the pass cannot be recorded as a CUDA graph: {str(error).splitlines()[0]}; leave CUDA graphs off"
        ) from error
    finally:
        for parameter, gradient in zip(trained, before, strict=True):
            parameter.grad = gradient
    repeatable = all(buffer._version == version for buffer, version in zip(buffers, versions, strict=True))
    return Recording(graph, inputs, loss, gradients, repeatable, [tensor.detach() for tensor in read])


def _forget(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _flat_gradients(parameters: list[nn.Parameter]) -> list[tuple[list[nn.Parameter], Tensor]]:
    reached: dict[torch.dtype, list[nn.Parameter]] = {}
    # As the parameters lie in memory, so that gradients of parameters in one piece are in one piece too.
    for parameter in sorted(parameters, key=lambda p: p.data_ptr()):
        if parameter.grad is not None:
            reached.setdefault(parameter.grad.dtype, []).append(parameter)
    return [(held, torch.cat([p.grad.flatten() for p in held if p.grad is not None])) for held in reached.values()]


def _add_gradients(parameters: list[nn.Parameter], flat: Tensor) -> None:
    parts = torch.split(flat, [p.numel() for p in parameters])
    old, new = list[Tensor](), list[Tensor]()
    for parameter, part in zip(parameters, parts, strict=True):
        gradient = part.view_as(parameter)
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            old.append(parameter.grad)
            new.append(gradient)
    if old:
        torch._foreach_add_(old, new)
