"""What methods that draw random numbers share: a seed of the run, and generators that are a function of it.

The seed is the one torch's global generator was started from when the method was attached, so that a user's
`torch.manual_seed` (or a Trainer's `seed`) chooses the noise too; the global generator is never drawn from.
"""

from __future__ import annotations

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.methods.base import Method
from bilora.ranks import agreed


class SeededMethod(Method):
    """A method with a seed of its own; draws are keyed by `draw_key`, see `bilora.draws`."""

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach, and take the seed."""
        self.seed = torch.initial_seed() % 2**63  # so that it fits a signed tensor
        return super().attach(model, config)

    def follow(self) -> None:
        """See `Method.follow`; all ranks take the seed of the first, whatever they were started with."""
        super().follow()
        self.seed = agreed(self.seed)

    @property
    def draw_key(self) -> tuple[int, int]:
        """Seed of the run and optimizer step: all that noise of a step may depend on."""
        return self.seed, self.steps

    def state_dict(self) -> dict[str, Tensor]:
        """Return the frame's state and the seed, which a resuming process may have been started without."""
        return {**super().state_dict(), "seed": torch.tensor(self.seed)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self.seed = int(state["seed"])
