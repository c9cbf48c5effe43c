"""Forward and backward pass of a batch as one CUDA graph, replayed with every batch of the same shape.

With short rows a GPU finishes kernels faster than Python launches them: a LoRA step on an 8B model takes thousands. A
CUDA graph is recorded once for each shape and launched as a whole. It reads the live weights, so that optimizer steps,
projections and perturbations in place are seen by the next replay, and its gradients come out as one buffer, in the
order in which the parameters lie in memory, of which every parameter's `.grad` is a view. What Python decides in a
forward pass is decided when it is recorded: a model must depend on nothing but its weights, its batch and CUDA's own
random numbers, which `Method.replayable` says of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from bilora.attention_masks import masks_without_values

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
    #: Whether it may be launched in vain: it writes to none of the model's buffers.
    repeatable: bool
    #: Parameters and buffers as they were, so that a launch in vain reads memory that is still theirs.
    read: list[Tensor]

    def launch(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Start the pass of a batch; the function returned takes back what it did to the generator."""
        device = self.loss.device
        before = torch.cuda.get_rng_state(device)
        for name, value in batch.items():
            self.inputs[name].copy_(value)
        self.graph.replay()
        return lambda: torch.cuda.set_rng_state(before, device)


@dataclass(frozen=True)
class _Structure:
    adapters: Hashable
    parameters: list[nn.Parameter]
    held: list[Tensor]
    modules: list[nn.Module]
    adapted: list[Any]
    factors: list[Any]


@dataclass(frozen=True)
class _Latest:
    """What served a kind of batch last; launched unasked only once the model's state has stood for two such batches."""

    state: Hashable
    recording: _Recording
    settled: bool


class GraphedBackward:
    """Takes gradients by replaying a CUDA graph; a drop-in for `loss = model(**batch).loss; loss.backward()`.

    Args:
        model: On a CUDA device, in training mode; elsewhere passes run as they would without graphs.
        forward_backward: `forward_backward(batch)` runs both passes and returns the loss, detached; None takes
            `model(**batch).loss` and its `backward()`.
        limit: Shapes that are recorded at most; batches of further shapes run as they would without graphs. Each
            keeps its inputs, and they share memory for everything else.

    Gradients are added to `.grad` as backward passes do. A recording belongs to shapes and types of the batch, to the
    values of what in it is no tensor, to the parameters that require a gradient, to the mode of every module, to
    autocast, and to which adapters are active, merged and scaled; all recordings are dropped when weights move. What is
    trained must be the model's, and modules must not be exchanged. Whatever else Python decides in a pass (by a step's
    number, say) stays as it was recorded, and a pass must not write to tensors that are not the model's. Batches that
    hold anything but tensors, numbers and strings are not recorded.
    """

    def __init__(
        self, model: nn.Module, *, forward_backward: Callable[[Batch], Tensor] | None = None, limit: int = 16
    ) -> None:
        self.model = model
        self.limit = limit
        self._eager = self._plain if forward_backward is None else forward_backward
        self._structure: _Structure | None = None
        self._recordings: dict[Hashable, _Recording] = {}
        self._latest: dict[Hashable, _Latest] = {}
        self._addresses: tuple[int, ...] = ()
        self._pool: Any = None

    def __call__(self, batch: Batch) -> Tensor:
        """Add the gradients of a batch's loss to `.grad` and return the loss, detached.

        Raises:
            GraphError: If the pass cannot be recorded, for example because it waits for the device.
        """
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        others = {name: value for name, value in batch.items() if name not in tensors}
        shapes = tuple((name, v.shape, v.dtype, v.device, v.requires_grad) for name, v in tensors.items())
        if not all(isinstance(value, _PLAIN) for value in others.values()):
            return self._eager(batch)
        asked: Hashable = (shapes, tuple(others.items()))
        # Looking through thousands of modules takes milliseconds in which the device would wait. So the recording that
        # served such batches last is launched first, and dropped if it was not the right one.
        latest = self._latest.get(asked)
        early = latest is not None and latest.settled and latest.recording.repeatable
        take_back = latest.recording.launch(tensors) if latest is not None and early else None
        state, trained = self._state()
        if latest is None or latest.state != state:
            if take_back is not None:
                take_back()
                take_back = None
            self._latest.pop(asked, None)
            if not trained or not all(t.is_cuda for t in [*trained, *tensors.values()]):
                return self._eager(batch)
            key: Hashable = (asked, state)
            if key not in self._recordings:
                if len(self._recordings) >= self.limit:
                    return self._eager(batch)
                self._recordings[key] = self._record(batch, tensors, trained)
            latest = self._latest[asked] = _Latest(state, self._recordings[key], settled=False)
        elif not latest.settled:
            self._latest[asked] = replace(latest, settled=True)
        if take_back is None:
            latest.recording.launch(tensors)
        for parameters, flat in latest.recording.gradients:
            # A copy, since the next replay writes over the buffer while these may still be in use.
            _add_gradients(parameters, flat.clone())
        return latest.recording.loss.clone()

    def _state(self) -> tuple[Hashable, list[nn.Parameter]]:
        """Return what a pass depends on besides its batch and the weights' values, and the parameters it trains."""
        model: Any = self.model
        adapters = (tuple(model.peft_config), tuple(model.active_adapters)) if isinstance(model, PeftModel) else ()
        if self._structure is None or self._structure.adapters != adapters:
            # Walking through thousands of modules takes longer than some passes; adapters come and go by name.
            modules, parameters = list(model.modules()), list(model.parameters())
            adapted = [m for m in modules if isinstance(m, BaseTunerLayer)]
            factors = [f for m in adapted for f in getattr(m, "_auxiliary", ())]
            self._structure = _Structure(
                adapters, parameters, [*parameters, *model.buffers()], modules, adapted, factors
            )
        found = self._structure
        trained = [p for p in found.parameters if p.requires_grad]
        state: list[Any] = [adapters, torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")]
        state += map(id, trained)
        state.append(len(trained))
        addresses = tuple(tensor.data_ptr() for tensor in found.held)
        if addresses != self._addresses:
            # Recordings would read where the weights were. One may be running.
            if self._recordings:
                torch.cuda.synchronize()
            self._recordings.clear()
            self._latest.clear()
            self._addresses = addresses
        state.append(addresses)
        state += [module.training for module in found.modules]
        for layer in found.adapted:
            state += (layer.disable_adapters, *layer.merged_adapters)
            # Looked up where modules that have none do not search their submodules.
            state += vars(layer).get("scaling", {}).values()
        state += [factors.active for factors in found.factors]
        return tuple(state), trained

    def _plain(self, batch: Batch) -> Tensor:
        loss: Any = cast("Any", self.model)(**batch).loss
        loss.backward()
        detached: Tensor = loss.detach()
        return detached

    def _record(self, batch: Batch, tensors: dict[str, Tensor], trained: list[nn.Parameter]) -> _Recording:
        inputs = {name: value.clone() for name, value in tensors.items()}
        before = [p.grad for p in trained]
        buffers = [(buffer, buffer._version) for buffer in self.model.buffers()]
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
                # Other threads (NCCL's watchdog, one that pins batches) may call CUDA meanwhile.
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
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
        repeatable = all(buffer._version == version for buffer, version in buffers)
        assert self._structure is not None
        read = [tensor.detach() for tensor in self._structure.held]
        return _Recording(graph, inputs, loss, gradients, repeatable, read)


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
