"""What was recorded of the adapters while a run trained (`dynamics.json`): Figures 2 and 3 of the paper, and capture.

Cosines of an adapter to its final state, the parts of the perturbation that LoRA-SAM makes, and, where the full
gradient was at hand, how much of the full-space ascent the auxiliary pair captures. Nothing is computed here but the
ratio of the second-order part to the first-order one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.fields import Record, RunStoreError, mapping, number, quotient, read_record, sequence

#: (step, value), by step.
Curve = tuple[tuple[float, float], ...]
FACTORS = ("A", "B")


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """One run while it trained.

    Attributes:
        cosines: (`primary` or `auxiliary`, `A`, `B` or `product`) -> cosine to the final state; steps without a
            direction are absent.
        second_order: ||eps_B eps_A|| over ||B eps_A + eps_B A||; steps whose second-order part is zero are absent.
        capture: First-order rise of the auxiliary's perturbation over the most at its radius and rank.
    """

    cosines: Mapping[tuple[str, str], Curve]
    second_order: Curve
    capture: Curve


def read_dynamics(path: Path) -> Dynamics:
    """Read a `dynamics.json`; raises `RunStoreError` naming what is malformed."""
    content = read_record(path)
    steps = sequence(content, "steps")
    cosines = {}
    for pair in ("primary", "auxiliary"):
        for part, values in mapping(content, pair).items():
            if not isinstance(values, list) or len(values) != len(steps):
                raise RunStoreError(f"{path.name}: {pair}.{part} needs {len(steps)} values, one for each step")
            known = ({"step": step, "value": value} for step, value in zip(steps, values, strict=True))
            cosines[pair, part] = _curve([(number(r, "step"), number(r, "value")) for r in known])
    return Dynamics(
        cosines=cosines,
        second_order=_series(sequence(content, "terms"), _second_order),
        capture=_series(sequence(content, "quality"), lambda record: number(record, "quality")),
    )


def _series(entries: list[Any], value_of: Callable[[Record], float | None]) -> Curve:
    pairs = [entry for entry in entries if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], dict)]
    return _curve([(number({"step": step}, "step"), value_of(record)) for step, record in pairs])


def _second_order(record: Record) -> float | None:
    # In the first step B is zero: A has no gradient, and there is no second-order part to speak of.
    second, first = number(record, "bilinear"), number(record, "linear")
    return quotient(second, first) if second else None


def _curve(pairs: Iterable[tuple[float | None, float | None]]) -> Curve:
    return tuple((step, value) for step, value in pairs if step is not None and value is not None)
