"""A vector over the trained weights that a method carries from one optimizer step to the next.

FSAM's average of gradients, LookSAM's sharp direction: one tensor for each weight that a gradient has reached, in
the gradient's type and on its device. Such a vector belongs to a checkpoint; what does not fit the model it is loaded
for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bilora.methods.options import MethodError
from bilora.shards import local, shard_of, whole


class CarriedVector:
    """One tensor per trained weight, zero until something is stored; of a sharded weight the rows that are here.

    Args:
        name: Under what name it stands in a checkpoint.
        parameters: Returns all trained weights, in module order; asked for anew, since others may take their places.
    """

    def __init__(self, name: str, parameters: Callable[[], Sequence[nn.Parameter]]) -> None:
        self.name = name
        self._parameters = parameters
        self._values: dict[int, Tensor] = {}

    def _places(self, parameters: Sequence[nn.Parameter]) -> list[int]:
        place = {id(p): index for index, p in enumerate(self._parameters())}
        return [place[id(p)] for p in parameters]

    def __len__(self) -> int:
        """Return for how many weights something is stored."""
        return len(self._values)

    def of(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Return the stored tensors of some weights, not copies; zeros are stored where nothing was."""
        places = self._places(parameters)
        for place, parameter in zip(places, parameters, strict=True):
            if place not in self._values:
                self._values[place] = torch.zeros_like(local(parameter))
        return [self._values[place] for place in places]

    def stored(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the weights for which something is stored, and what."""
        parameters = self._parameters()
        return [parameters[place] for place in self._values], list(self._values.values())

    def store(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
        """Keep `values`, not copies of them, for some weights."""
        self._values.update(zip(self._places(parameters), values, strict=True))

    def add(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
        """Add `values` to what is stored for some weights; where nothing is, keep them, not copies."""
        pairs = list(zip(self._places(parameters), values, strict=True))
        there = [(place, value) for place, value in pairs if place in self._values]
        if there:
            torch._foreach_add_([self._values[place] for place, _ in there], [value for _, value in there])
        self._values.update((place, value) for place, value in pairs if place not in self._values)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Return whole copies, named by the weight's place among the trained weights."""
        parameters = self._parameters()
        return {f"{self.name}.{i}": whole(parameters[i], value).clone() for i, value in self._values.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned.

        Args:
            state: The method's whole state; other entries are left alone.

        Raises:
            MethodError: If a tensor belongs to another model or adapter.
        """
        self.clear()
        parameters = self._parameters()
        for key, value in state.items():
            name, _, place = key.rpartition(".")
            if name != self.name:
                continue
            weight = parameters[int(place)] if int(place) < len(parameters) else None
            if weight is None or weight.shape != value.shape:
                expected = "no such weight" if weight is None else f"shape {tuple(weight.shape)}"
                raise MethodError(
                    f"the checkpoint holds shape {tuple(value.shape)} for {key}, where the model has {expected}; "
                    "resume with the model and the adapter the run was started with"
                )
            self._values[int(place)] = shard_of(value, weight).to(weight.device, copy=True)
