"""Table 5: the clip over all layers together is what works, and a second descending adapter explains little.

"Little" is less than half of Bi-LoRA's own gain over LoRA; the paper's numbers are 0.07 of 1.40 points. Where
Bi-LoRA has no gain over LoRA there is nothing to explain, and that question stays open.
"""

from __future__ import annotations

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.generalisation import beats
from benchmarks.claims.scope import BILORA, LORA, Arm, Scope
from benchmarks.claims.verdict import Question, Region

DUAL = Arm("dual-lora")
CLIPS = (
    (Arm("bilora", (("clip", "per-layer"),)), "one clip over all layers beats one in each layer"),
    (Arm("bilora", (("clip", "none"),)), "one clip over all layers beats none"),
)
EXPLAINED = 0.5


def questions(scope: Scope) -> list[Question]:
    """Return the questions of Table 5, on the first task."""
    task = (scope.first,)
    found = [
        beats(BILORA, arm, f"Bi-LoRA: {claim}", source="Table 5", group="clip", scope_name=scope.first, tasks=task)
        for arm, claim in CLIPS
    ]
    found.append(
        beats(
            BILORA, DUAL, "Bi-LoRA beats Dual-LoRA", source="Table 5", group="dual", scope_name=scope.first, tasks=task
        )
    )
    found.append(
        Question(
            group="dual",
            claim="Dual-LoRA explains less than half of Bi-LoRA's gain over LoRA",
            source="Table 5",
            scope=scope.first,
            quantity="half of Bi-LoRA's gain minus Dual-LoRA's gain, test score",
            unit="points",
            region=Region(low=0.0),
            arms=(LORA, BILORA, DUAL),
            tasks=task,
            measure=lambda evidence: evidence.contrast(
                [(EXPLAINED, BILORA), (-1.0, DUAL), (1.0 - EXPLAINED, LORA)], task
            ),
            premise=lambda evidence: _no_gain(evidence, task),
        )
    )
    return found


def _no_gain(evidence: Evidence, task: tuple[str, ...]) -> str | None:
    gain = evidence.contrast([(1.0, BILORA), (-1.0, LORA)], task)
    if gain.low > 0.0:
        return None
    return f"no gain of Bi-LoRA over LoRA was established here: {gain.low:+.1f} to {gain.high:+.1f} points"
