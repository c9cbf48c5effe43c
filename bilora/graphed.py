"""Forward and backward pass of a batch as one CUDA graph, replayed with every batch of the same shape.

With short rows a GPU finishes kernels faster than Python launches them: a LoRA step on an 8B model takes thousands. A
CUDA graph is recorded once for each shape and launched as a whole. It reads the live weights, so that optimizer steps,
projections and perturbations in place are seen by the next replay, and its gradients come out as one buffer, in the
order in which the parameters lie in memory, of which every parameter's `.grad` is a view. What Python decides in a
forward pass is decided when it is recorded: a model must depend on nothing but its weights, its batch and CUDA's own
random numbers, which `Method.replayable` says of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from bilora.recording import Batch, Recording, record

_PLAIN = (int, float, str, bool, type(None))


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
    recording: Recording
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
        self._recordings: dict[Hashable, Recording] = {}
        self._latest: dict[Hashable, _Latest] = {}
        self._addresses: tuple[int, ...] = ()
        self._pool: Any = None

    def __call__(self, batch: Batch) -> Tensor:
        """Add the gradients of a batch's loss to `.grad`.

        Args:
            batch: What the model takes, by name: tensors on its device, and numbers, strings, booleans or None.

        Returns:
            The loss, a scalar, detached.

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
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                assert self._structure is not None
                self._recordings[key] = record(
                    self._eager,
                    batch,
                    trained=trained,
                    buffers=list(self.model.buffers()),
                    read=self._structure.held,
                    pool=self._pool,
                )
            latest = self._latest[asked] = _Latest(state, self._recordings[key], settled=False)
        elif not latest.settled:
            self._latest[asked] = replace(latest, settled=True)
        if take_back is None:
            latest.recording.launch(tensors)
        latest.recording.add_gradients()
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
