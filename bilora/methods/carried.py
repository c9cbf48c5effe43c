"""A vector over the trained weights that a method carries from one optimizer step to the next.

FSAM's average of gradients, LookSAM's sharp direction: one tensor for each weight that a gradient has reached, in
the gradient's type and on its device. Such a vector belongs to a checkpoint; what does not fit the model it is loaded
for is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bilora.methods.options import MethodError


class CarriedVector:
    """One tensor per trained weight, zero until something is stored.

    Args:
        name: Under what name it stands in a checkpoint.
        parameters: All trained weights, in module order.
    """

    def __init__(self, name: str, parameters: Sequence[nn.Parameter]) -> None:
        self.name = name
        self._parameters = list(parameters)
        self._place = {id(p): index for index, p in enumerate(self._parameters)}
        self._values: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Return for how many weights something is stored."""
        return len(self._values)

    def of(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Return the stored tensors of some weights, not copies; zeros are stored where nothing was."""
        places = [self._place[id(p)] for p in parameters]
        for place, parameter in zip(places, parameters, strict=True):
            if place not in self._values:
                self._values[place] = torch.zeros_like(parameter, requires_grad=False)
        return [self._values[place] for place in places]

    def stored(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the weights for which something is stored, and what."""
        return [self._parameters[place] for place in self._values], list(self._values.values())

    def store(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
        """Keep `values`, not copies of them, for some weights."""
        for parameter, value in zip(parameters, values, strict=True):
            self._values[self._place[id(parameter)]] = value

    def add(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
        """Add `values` to what is stored for some weights; where nothing is, keep them, not copies."""
        pairs = list(zip(parameters, values, strict=True))
        there = [(p, v) for p, v in pairs if self._place[id(p)] in self._values]
        if there:
            torch._foreach_add_(self.of([p for p, _ in there]), [v for _, v in there])
        absent = [(p, v) for p, v in pairs if self._place[id(p)] not in self._values]
        self.store([p for p, _ in absent], [v for _, v in absent])

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies, named by the weight's place among the trained weights."""
        return {f"{self.name}.{index}": value.clone() for index, value in self._values.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned.

        Args:
            state: The method's whole state; other entries are left alone.

        Raises:
            MethodError: If a tensor belongs to another model or adapter.
        """
        self.clear()
        for key, value in state.items():
            name, _, place = key.rpartition(".")
            if name != self.name:
                continue
            weight = self._parameters[int(place)] if int(place) < len(self._parameters) else None
            if weight is None or weight.shape != value.shape:
                expected = "no such weight" if weight is None else f"shape {tuple(weight.shape)}"
                raise MethodError(
                    f"the checkpoint holds shape {tuple(value.shape)} for {key}, where the model has {expected}; "
                    "resume with the model and the adapter the run was started with"
                )
            self._values[int(place)] = value.to(weight.device, copy=True)
