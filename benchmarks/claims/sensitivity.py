"""Table 6, Table A4 and Figure 6: how much Bi-LoRA's own settings matter.

"Insensitive to the auxiliary learning rate" means that the score moves by less than what the method gains, 1.4
points in the paper's average over the same setting (51.19 against 49.79 in Table 5). The multiples of the primary's
rate are Table 6's (1e-4, 5e-4 and 1e-3 beside 3e-4). All settings at once: the interval reaches from the lowest end
to the highest.

A sweet spot lies between extremes: the middle settings score more than the mean of the smallest and the largest.
Radii are those of Table A4; of the auxiliary ranks the paper recommends 8, and the ends are ours, a quarter and four
times of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.scope import BILORA, Arm, Scope
from benchmarks.claims.verdict import Question, Region
from reports.crossed import Measured

MARGIN = 1.4
MULTIPLES = (1 / 3, 5 / 3, 10 / 3)
RADII = (0.01, 0.05, 0.1, 0.2)
RANKS = (2, 8, 32)


def questions(scope: Scope) -> list[Question]:
    """Return the questions on the auxiliary's rate, radius and rank, on the first task."""
    task = (scope.first,)
    rate = scope.learning_rate(scope.first)
    rates = [Arm("bilora", (("auxiliary_learning_rate", round(multiple * rate, 10)),)) for multiple in MULTIPLES]
    claim = "Bi-LoRA is insensitive to the auxiliary learning rate"
    found = [_insensitive(rates, claim, f"x {_listed(MULTIPLES)} of the primary's, farthest from x 1", task)]
    found += [
        _insensitive([arm], claim, f"x {multiple:.2g} of the primary's minus x 1", task, detail=True)
        for arm, multiple in zip(rates, MULTIPLES, strict=True)
    ]
    default = {"rho": 0.05, "auxiliary_rank": 8}
    for group, option, values, source in (
        ("radius", "rho", RADII, "Table A4, Figure 6"),
        ("rank", "auxiliary_rank", RANKS, "Figure 6"),
    ):
        arms = [BILORA if value == default[option] else Arm("bilora", ((option, value),)) for value in values]
        found.append(_sweet_spot(arms, values, group=group, source=source, task=task))
    return found


def _insensitive(
    arms: Sequence[Arm], claim: str, which: str, task: tuple[str, ...], *, detail: bool = False
) -> Question:
    def measure(evidence: Evidence) -> Measured:
        moved = [evidence.contrast([(1.0, arm), (-1.0, BILORA)], task) for arm in arms]
        farthest = max(moved, key=lambda one: abs(one.value))
        low, high = min(one.low for one in moved), max(one.high for one in moved)
        return Measured(value=farthest.value, low=low, high=high, degrees=farthest.degrees)

    return Question(
        group="auxiliary-rate",
        claim=claim,
        source="Table 6",
        scope=task[0],
        quantity=f"test score, auxiliary rate {which}",
        unit="points",
        region=Region(low=-MARGIN, high=MARGIN),
        arms=(BILORA, *arms),
        tasks=task,
        measure=measure,
        detail=detail,
    )


def _sweet_spot(
    arms: Sequence[Arm], values: Sequence[float], *, group: str, source: str, task: tuple[str, ...]
) -> Question:
    middle = arms[1:-1]
    terms = [(1.0 / len(middle), arm) for arm in middle] + [(-0.5, arms[0]), (-0.5, arms[-1])]
    return Question(
        group=group,
        claim=f"Bi-LoRA has a sweet spot of the auxiliary {group}",
        source=source,
        scope=task[0],
        quantity=f"test score, mean at {_listed(values[1:-1])} minus mean at {_listed((values[0], values[-1]))}",
        unit="points",
        region=Region(low=0.0),
        arms=tuple(arms),
        tasks=task,
        measure=lambda evidence: evidence.contrast(terms, task),
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)
