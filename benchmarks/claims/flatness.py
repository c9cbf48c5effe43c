"""Figure 4 and Table A6: LoRA-SAM is the flattest in the space of its factors, Bi-LoRA in that of the weights.

Figure 4 shows the loss along random filter-normalised directions; here its mean rise over all positions of the
stored slices. Table A6 attacks with one normalised gradient step; here the stored loss increase after one, at the
measurement's radius in weight space (the paper attacks its score at radii of 0.5 and more). Both are compared as
ratios, by the geometric mean over tasks and seeds, on training examples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.claims.cuts import over_tasks
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.scope import BILORA, LORA, LORA_SAM, Arm, Scope
from benchmarks.claims.verdict import Missing, Question, Region
from reports.crossed import Measured
from reports.measurements import SpaceMeasurement
from reports.runs import Run

COMPARISONS = (
    ("lora", LORA_SAM, LORA, "LoRA-SAM is flatter than LoRA in the LoRA space"),
    ("lora", LORA_SAM, BILORA, "LoRA-SAM is flatter than Bi-LoRA in the LoRA space"),
    ("full", BILORA, LORA, "Bi-LoRA is flatter than LoRA in the full space"),
    ("full", BILORA, LORA_SAM, "Bi-LoRA is flatter than LoRA-SAM in the full space"),
)


def _mean_rise(space: SpaceMeasurement) -> float | None:
    if space.slices is None:
        return None
    centre = space.slices.alphas.index(0.0)
    rises = [loss - line[centre] for line in space.slices.losses for i, loss in enumerate(line) if i != centre]
    return sum(rises) / len(rises)


def _one_step(space: SpaceMeasurement) -> float | None:
    return space.one_step.increase if space.one_step else None


RISES: tuple[tuple[str, str, Callable[[SpaceMeasurement], float | None]], ...] = (
    ("Figure 4", "mean rise along random directions", _mean_rise),
    ("Table A6", "rise after one gradient step", _one_step),
)


def questions(scope: Scope) -> list[Question]:
    """Return four comparisons in each of two ways, over all tasks and then, as details, on each."""
    return [
        Question(
            group="flatness",
            claim=claim,
            source=source,
            scope=name,
            quantity=f"{what}, {flatter} over {other}",
            unit="ratio",
            region=Region(high=1.0),
            arms=(flatter, other),
            tasks=tasks,
            measure=partial(_ratio, flatter=flatter, other=other, tasks=tasks, space=space, rise=rise),
            detail=part,
        )
        for source, what, rise in RISES
        for space, flatter, other, claim in COMPARISONS
        for name, tasks, part in over_tasks(scope)
    ]


def _ratio(
    evidence: Evidence,
    *,
    flatter: Arm,
    other: Arm,
    tasks: tuple[str, ...],
    space: str,
    rise: Callable[[SpaceMeasurement], float | None],
) -> Measured:
    def value(run: Run) -> float:
        measured = run.space(space)
        found = rise(measured) if measured else None
        if found is None:
            raise Missing(f"run {run.key}: {run.why_no_measurement()}")
        return found

    return evidence.ratio(flatter, other, tasks, value)
