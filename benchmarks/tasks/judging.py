"""Tasks with two answers: as many examples of the one as of the other in every split, one word to write."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.tasks.base import Example
from benchmarks.tasks.drawn import DrawnTask


class JudgingTask(DrawnTask):
    """A task whose completion is one of two words; the two alternate, so that any stretch of a split is balanced."""

    #: The completions, with the space that belongs to the word.
    answers: ClassVar[tuple[str, str]]

    def fits(self, example: Example, position: int) -> bool:
        """See `DrawnTask.fits`."""
        return example.completion == self.answers[position % 2]

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the generated text is the right word and nothing else, else 0."""
        return float(generated.strip() == example.completion.strip())
