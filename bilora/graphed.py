"""Forward and backward pass of a batch as one CUDA graph, replayed with every batch of the same shape.

With short rows a GPU finishes kernels faster than Python launches them: a LoRA step on an 8B model takes thousands. A
CUDA graph is recorded once for each shape and launched as a whole. It reads the live weights, so that optimizer steps,
projections and perturbations in place are seen by the next replay, and its gradients come out as one buffer, of which
every parameter's `.grad` is a view. What Python decides in a forward pass is decided when it is recorded: a model must
depend on nothing but its weights, its batch and CUDA's own random numbers, which `Method.replayable` says of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import masking_utils
from transformers.utils import import_utils

# PyTorch asks for a few passes on a side stream first, so that libraries have made their workspaces.
_WARM_UP = 3
_PLAIN = (int, float, str, bool, type(None))

Batch = dict[str, Any]


class GraphError(RuntimeError):
    """A pass cannot be recorded as a CUDA graph."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    loss: Tensor
    #: For each type the gradients of these parameters, one after the other.
    gradients: list[tuple[list[nn.Parameter], Tensor]]


class GraphedBackward:
    """Takes gradients by replaying a CUDA graph; a drop-in for `loss = model(**batch).loss; loss.backward()`.

    Args:
        model: On a CUDA device, in training mode; elsewhere passes run as they would without graphs.
        loss: `loss(batch)` -> scalar; None takes `model(**batch).loss`.
        limit: Shapes that are recorded at most; batches of further shapes run as they would without graphs. Each
            keeps its inputs, and they share memory for everything else.

    Gradients are added to `.grad` as backward passes do. A recording belongs to shapes and types of the batch, to the
    values of what in it is no tensor, to the parameters that require a gradient, to the mode of every module, to
    autocast, and to which adapters are active, merged and scaled. What `loss` trains must be the model's, modules must
    not be exchanged, and weights must stay where they are: assigning to `.data` is not seen. Batches that hold anything
    but tensors, numbers and strings are not recorded.
    """

    def __init__(self, model: nn.Module, *, loss: Callable[[Batch], Tensor] | None = None, limit: int = 16) -> None:
        self.model = model
        self.limit = limit
        self._loss = loss if loss is not None else lambda batch: cast("Any", model)(**batch).loss
        self._structure: tuple[Hashable, list[nn.Parameter], list[nn.Module], list[Any]] | None = None
        self._recordings: dict[Hashable, _Recording] = {}
        self._pool: Any = None

    def __call__(self, batch: Batch) -> Tensor:
        """Add the gradients of a batch's loss to `.grad` and return the loss, detached.

        Raises:
            GraphError: If the pass cannot be recorded, for example because it waits for the device.
        """
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        others = {name: value for name, value in batch.items() if name not in tensors}
        state, trained = self._state()
        recordable = trained and all(t.is_cuda for t in [*trained, *tensors.values()])
        if not recordable or not all(isinstance(value, _PLAIN) for value in others.values()):
            return self._eager(batch)
        shapes = tuple((name, value.shape, value.dtype, value.requires_grad) for name, value in tensors.items())
        key: Hashable = (shapes, tuple(others.items()), state)
        if key not in self._recordings:
            if len(self._recordings) >= self.limit:
                return self._eager(batch)
            self._recordings[key] = self._record(batch, tensors, trained)
        recording = self._recordings[key]
        for name, value in tensors.items():
            recording.inputs[name].copy_(value)
        recording.graph.replay()
        for parameters, flat in recording.gradients:
            # A copy, since the next replay writes over the buffer while these may still be in use.
            _add_gradients(parameters, flat.clone())
        return recording.loss.clone()

    def _state(self) -> tuple[Hashable, list[nn.Parameter]]:
        """Return what a pass depends on besides its batch and the weights' values, and the parameters it trains."""
        model: Any = self.model
        adapters = (tuple(model.peft_config), tuple(model.active_adapters)) if isinstance(model, PeftModel) else ()
        if self._structure is None or self._structure[0] != adapters:
            # Walking through thousands of modules takes longer than some passes; adapters come and go by name.
            modules = list(model.modules())
            adapted = [m for m in modules if isinstance(m, BaseTunerLayer)]
            self._structure = (adapters, list(model.parameters()), modules, adapted)
        _, parameters, modules, adapted = self._structure
        trained = [p for p in parameters if p.requires_grad]
        switches = tuple(
            (
                layer.disable_adapters,
                tuple(layer.merged_adapters),
                tuple(getattr(layer, "scaling", {}).values()),
                tuple(factors.active for factors in getattr(layer, "_auxiliary", ())),
            )
            for layer in adapted
        )
        autocast = (torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"))
        return (adapters, autocast, tuple(map(id, trained)), tuple(m.training for m in modules), switches), trained

    def _eager(self, batch: Batch) -> Tensor:
        loss = self._loss(batch)
        loss.backward()
        return loss.detach()

    def _record(self, batch: Batch, tensors: dict[str, Tensor], trained: list[nn.Parameter]) -> _Recording:
        inputs = {name: value.clone() for name, value in tensors.items()}
        before = [p.grad for p in trained]
        device = trained[0].device
        try:
            stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(device))
            with masks_without_values(batch):
                with torch.random.fork_rng([device]), torch.cuda.stream(stream):
                    for _ in range(_WARM_UP):
                        _forget(trained)
                        self._eager(batch | inputs)
                torch.cuda.current_stream(device).wait_stream(stream)
                _forget(trained)
                torch.cuda.empty_cache()
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._pool):
                    loss = self._eager(batch | inputs)
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
        return _Recording(graph, inputs, loss, gradients)


@contextmanager
def masks_without_values(batch: Iterable[str]) -> Iterator[None]:
    """Let transformers decide on attention masks without looking at values, recorded or not.

    It leaves a causal mask out, so that the fastest kernels run, if nothing is padded or packed, and reads from the
    device whether something is, unless a graph is being recorded; then it makes a mask in any case. What a batch does
    not hold it cannot be: without `attention_mask` nothing is padded, without `position_ids` nothing is packed.

    Args:
        batch: Names of the model's inputs.
    """
    inputs = set(batch)
    makes_mask = "position_ids" in inputs or any(name.endswith("attention_mask") for name in inputs)
    answers: list[tuple[Any, str, Callable[..., Any]]] = [
        (import_utils, "is_cuda_stream_capturing", lambda: makes_mask)
    ]
    if "position_ids" not in inputs:
        answers.append((masking_utils, "find_packed_sequence_indices", lambda *_, **__: None))
    # Releases without one of these have no such question.
    answers = [(module, name, answer) for module, name, answer in answers if hasattr(module, name)]
    before = [getattr(module, name) for module, name, _ in answers]
    try:
        for module, name, answer in answers:
            setattr(module, name, answer)
        yield
    finally:
        for (module, name, _), own in zip(answers, before, strict=True):
            setattr(module, name, own)


def _forget(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _flat_gradients(parameters: list[nn.Parameter]) -> list[tuple[list[nn.Parameter], Tensor]]:
    reached: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
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
