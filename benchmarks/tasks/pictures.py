"""Tasks whose answers are pictures: what they give to be trained on, and how what was drawn is judged.

Such a task is trained by denoising and answered by sampling, so what needs tokens, logits or a language model's own
weights in 4 bits makes no sense on it and is refused by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.base import Example, Medium, Task

if TYPE_CHECKING:
    from benchmarks.scoring import ScoredExample

_NO_LOGITS = "it adds noise to logits, and a denoising loss has none"
_NO_TOKENS = "it chooses examples by the cross-entropy of their tokens, and a picture has none"
_REFUSED = {"rop": _NO_LOGITS, "lora-esam": _NO_TOKENS}


class DrawingTask(Task):
    """A task that asks for pictures, however they are judged."""

    medium: ClassVar[Medium] = "picture"
    #: Steps of the sampler.
    sampling_steps: ClassVar[int]
    #: Strength of classifier-free guidance, 1 for none.
    guidance: ClassVar[float]

    def refusal(self, *, method: str, variant: str, quantize: str | None) -> str | None:
        """See `Task.refusal`."""
        if quantize is not None:
            return f"--quantize {quantize} is made for language models; a UNet keeps its own weights"
        return _REFUSED.get(method)


class PictureTask(DrawingTask):
    """A task that comes with its pictures and judges what is drawn by a rule of its own."""

    @abstractmethod
    def pictures(self, examples: Sequence[Example]) -> NDArray[np.uint8]:
        """Return the pictures that belong to examples, (examples, 3, side, side)."""

    @abstractmethod
    def judged(self, examples: Sequence[Example], drawn: NDArray[np.uint8]) -> list[ScoredExample]:
        """Return what pictures drawn for examples are worth, (examples, 3, side, side), in their order."""
