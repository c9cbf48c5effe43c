"""Tables 1 to 3, A1 to A3: Bi-LoRA generalises better than LoRA and LoRA-SAM, and LoRA-SAM better than LoRA.

Radii are the paper's defaults and nothing is tuned, as in `benchmarks.compare`.
"""

from __future__ import annotations

from benchmarks.claims.cuts import over_tasks
from benchmarks.claims.scope import BILORA, LORA, LORA_SAM, Arm, Scope
from benchmarks.claims.verdict import Question, Region

PAIRS = (
    (BILORA, LORA, "Bi-LoRA generalises better than LoRA"),
    (BILORA, LORA_SAM, "Bi-LoRA generalises better than LoRA-SAM"),
    (LORA_SAM, LORA, "LoRA-SAM generalises better than LoRA"),
)


def questions(scope: Scope) -> list[Question]:
    """Return three questions over all tasks, then on each."""
    return [
        beats(better, other, claim, source="Tables 1-3, A1-A3", group="generalisation", scope_name=name, tasks=tasks)
        for better, other, claim in PAIRS
        for name, tasks, _ in over_tasks(scope)
    ]


def beats(
    better: Arm, other: Arm, claim: str, *, source: str, group: str, scope_name: str, tasks: tuple[str, ...]
) -> Question:
    """Return the question whether one arm scores more than another on test examples."""
    return Question(
        group=group,
        claim=claim,
        source=source,
        scope=scope_name,
        quantity=f"test score, {better} minus {other}",
        unit="points",
        region=Region(low=0.0),
        arms=(better, other),
        tasks=tasks,
        measure=lambda evidence: evidence.contrast([(1.0, better), (-1.0, other)], tasks),
    )
