"""Tasks whose examples are drawn from a generator: the same ones everywhere, none met twice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Set
from functools import cache
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Split, Task


class DrawnTask(Task):
    """A task with a generator; its splits are fixed by name and version."""

    sizes: ClassVar[dict[Split, int]]

    @abstractmethod
    def draw(self, rng: Random) -> Example:
        """Draw one example."""

    @abstractmethod
    def marks(self, example: Example) -> Set[Hashable]:
        """Return what an example may share with no other, in whatever split."""

    def fits(self, example: Example, position: int) -> bool:
        """Return whether an example may stand at a position of the drawn ones, train, validation and test in a row."""
        return True

    def examples(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split, always the same ones in the same order.

        Raises:
            ValueError: If the split is unknown.
        """
        if split not in self.sizes:
            raise ValueError(f"split: found {split!r}, expected one of {', '.join(self.sizes)}")
        return _splits(type(self))[split]


@cache
def _splits(kind: type[DrawnTask]) -> dict[Split, tuple[Example, ...]]:
    task, rng = kind(), Random(f"{kind.name}/{kind.version}")
    drawn: list[Example] = []
    seen: set[Hashable] = set()
    while len(drawn) < sum(kind.sizes.values()):
        example = task.draw(rng)
        marks = task.marks(example)
        if seen & marks or not task.fits(example, len(drawn)):
            continue
        seen |= marks
        drawn.append(example)
    splits: dict[Split, tuple[Example, ...]] = {}
    for split, size in kind.sizes.items():
        splits[split], drawn = tuple(drawn[:size]), drawn[size:]
    return splits
