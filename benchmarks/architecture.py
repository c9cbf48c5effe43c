"""What a comparison asks of a kind of model, whatever it is trained on: rows, batches, loss, and scored answers.

Language models (`benchmarks.language`) and text-to-image models (`benchmarks.diffusion.architecture`) give it;
training, evaluation and measurement know nothing else of a model's inputs and outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis import Objective
from analysis.losses import LossFunction
from benchmarks.scoring import ScoredExample
from benchmarks.tasks import Example, Split, Task

#: One training example as it is kept, and several as a model takes them.
Row = dict[str, Any]
Batch = dict[str, Tensor]
Collator = Callable[[Sequence[Row]], Batch]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pictures for a report, apart from those that were scored.

    Attributes:
        pictures: uint8 (pictures, 3, side, side).
        prompts: What they were drawn for.
        titles: The same in a word or two.
    """

    pictures: NDArray[np.uint8]
    prompts: tuple[str, ...]
    titles: tuple[str, ...]


class Architecture(ABC):
    """A kind of model, together with what reads its inputs.

    Attributes:
        task_type: PEFT's name of its task, or None.
        target_modules: Which of its modules are adapted, as PEFT takes it.
        loss: Its loss over a batch, for an `Objective`.
        loss_kind: What that is, a name in `reports.metric.LOSSES`.
    """

    task_type: str | None
    target_modules: str | list[str] = "all-linear"
    loss: LossFunction
    loss_kind: str

    @abstractmethod
    def rows(self, task: Task, examples: Sequence[Example]) -> Sequence[Row]:
        """Return all that a model is trained on of these examples, in order."""

    def packed(self, model: Any, rows: Sequence[Row]) -> list[Row]:
        """Return rows that hold several of the given ones each, kept apart; decoders only.

        Raises:
            NotImplementedError: If this kind of model has no such rows.
        """
        raise NotImplementedError(f"{type(self).__name__} has no packed rows")

    @abstractmethod
    def collator(self, *, seed: int, multiple: int = 1, skipped: int = 0) -> Collator:
        """Return what makes a training batch of rows.

        Args:
            seed: Of whatever is drawn for a batch; equal seeds draw equally.
            multiple: Lengths that differ from row to row are padded to multiples of this.
            skipped: Rows that went before, in a run that is resumed; what was drawn for them is not drawn again.
        """

    @abstractmethod
    def batches(self, rows: Sequence[Row], *, size: int, once: bool = False) -> list[Batch]:
        """Split rows into batches of at most `size` to evaluate on; they depend on the rows alone.

        Args:
            rows: The rows.
            size: Of a batch.
            once: Take every row once, where a loss that depends on chance would take it several times.
        """

    @abstractmethod
    def score(
        self,
        model: Any,
        task: Task,
        examples: Sequence[Example],
        *,
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> list[ScoredExample]:
        """Let a model answer every example, and score the answers by the task's rule."""

    def metric(self, task: Task) -> str:
        """Return the name of what `score` gives, the task's own unless something else is judged."""
        return task.metric

    def asked(self, task: Task, split: Split) -> Sequence[Example]:
        """Return what is scored of a split, the examples that losses are taken on unless something else is asked."""
        return task.examples(split)

    def drawn(self, model: Any, task: Task, *, on_progress: Callable[[float], None]) -> Drawn | None:
        """Draw pictures for a report; None where what was scored is all there is."""
        return None

    def exported(self, folder: Path) -> None:
        """Add to the folder of an exported adapter what other libraries read it by; nothing by default."""

    def objective(self, model: Any, rows: Sequence[Row], *, size: int, once: bool = False) -> Objective:
        """Return the mean loss of a model over rows, see `batches`."""
        return Objective(model, self.batches(rows, size=size, once=once), loss=self.loss)
