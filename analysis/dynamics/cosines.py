"""How far an adapter has turned: the cosine of its present to its final state over training.

Factors are compared as they are and as their product. The product is the property of the model; the factors show
whether training moves the subspace (A, B) or only what happens in it, which is what the paper plots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis import low_rank, vectors
from analysis.errors import SettingsError
from analysis.low_rank import Factors

Snapshot = Sequence[Factors]
"""(A, B, s) of every layer at one step."""


@dataclass(frozen=True)
class CosinesToFinal:
    """Cosine of each snapshot to the last one, over all layers together; None where one of the two is zero.

    Attributes:
        A: Of all A, one long vector.
        B: Of all B.
        product: Of all s B A.
    """

    A: tuple[float | None, ...]
    B: tuple[float | None, ...]
    product: tuple[float | None, ...]


def cosines_to_final(snapshots: Sequence[Snapshot]) -> CosinesToFinal:
    """Return the cosines of A, B and s B A to those of the last snapshot.

    Args:
        snapshots: In the order of training, of the same layers.

    Raises:
        SettingsError: There is no snapshot, or they differ in their layers.
    """
    if not snapshots:
        raise SettingsError("there are no snapshots; record some while training")
    if len({len(snapshot) for snapshot in snapshots}) > 1:
        raise SettingsError("the snapshots have different numbers of layers; record the same ones at every step")
    return CosinesToFinal(
        A=_cosines(snapshots, lambda x, y: vectors.dot([x[0]], [y[0]])),
        B=_cosines(snapshots, lambda x, y: vectors.dot([x[1]], [y[1]])),
        product=_cosines(snapshots, low_rank.inner),
    )


def _cosines(snapshots: Sequence[Snapshot], inner: Callable[[Factors, Factors], float]) -> tuple[float | None, ...]:
    """Return <x, final> / (||x|| ||final||) for an inner product that is summed over layers."""
    final = snapshots[-1]

    def product(x: Snapshot, y: Snapshot) -> float:
        return sum(inner(one, other) for one, other in zip(x, y, strict=True))

    squared = product(final, final)
    found: list[float | None] = []
    for snapshot in snapshots:
        lengths = product(snapshot, snapshot) * squared
        found.append(product(snapshot, final) / lengths**0.5 if lengths > 0.0 else None)
    return tuple(found)
