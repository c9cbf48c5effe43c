"""Table 4 and Table A5: Bi-LoRA's gain adds to other adapters and to a 4-bit base."""

from __future__ import annotations

from benchmarks.claims.generalisation import beats
from benchmarks.claims.scope import Arm, Scope
from benchmarks.claims.verdict import Question

VARIANTS = (("dora", "DoRA"), ("pissa", "PiSSA"), ("lora-ga", "LoRA-GA"))
QUANTISED = (("qlora", "QLoRA"), ("qlora-sam", "QLoRA-SAM"))


def questions(scope: Scope) -> list[Question]:
    """Return one question for each variant and two for the 4-bit base, on the first task."""
    task = (scope.first,)
    found = [
        beats(
            Arm(f"{variant}+bilora"),
            Arm(f"{variant}+lora"),
            f"Bi-LoRA's gain adds to {shown}",
            source="Table 4",
            group="variants",
            scope_name=scope.first,
            tasks=task,
        )
        for variant, shown in VARIANTS
    ]
    found += [
        beats(
            Arm("bi-qlora"),
            Arm(other),
            f"On a 4-bit base Bi-LoRA beats {shown}",
            source="Table A5",
            group="nf4",
            scope_name=scope.first,
            tasks=task,
        )
        for other, shown in QUANTISED
    ]
    return found
