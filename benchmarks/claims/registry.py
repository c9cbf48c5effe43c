"""The groups of claims by name, in the order of the board."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.claims import ablation, combinations, convergence, cost, flatness, generalisation, sensitivity
from benchmarks.claims.scope import Scope
from benchmarks.claims.verdict import Question
from benchmarks.errors import UsageError, nearest

GROUPS: dict[str, str] = {
    "generalisation": "Bi-LoRA beats LoRA and LoRA-SAM, and LoRA-SAM beats LoRA (Tables 1-3, A1-A3)",
    "flatness": "LoRA-SAM is the flattest in the LoRA space, Bi-LoRA in the full space (Figure 4, Table A6)",
    "convergence": "the auxiliary converges more slowly than the primary (Figure 3)",
    "cross-term": "the second-order term of LoRA-SAM's perturbation is negligible (Figure 2)",
    "clip": "one clip over all layers beats one in each layer and none (Table 5)",
    "dual": "a second descending adapter explains little (Table 5)",
    "auxiliary-rate": "insensitive to the auxiliary learning rate (Table 6)",
    "radius": "a sweet spot of the radius (Table A4, Figure 6)",
    "rank": "a sweet spot of the auxiliary rank (Figure 6)",
    "variants": "gains add to DoRA, PiSSA and LoRA-GA (Table 4)",
    "nf4": "gains on a 4-bit base (Table A5)",
    "cost": "a step costs what LoRA costs (Table 7)",
}
_MODULES = (generalisation, flatness, convergence, ablation, sensitivity, combinations, cost)


def check_groups(names: Sequence[str]) -> None:
    """Refuse names of groups that do not exist.

    Raises:
        UsageError: At the first one.
    """
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"--claims: unknown claim {name!r}{nearest(name, GROUPS)}; known: {', '.join(GROUPS)}")


def all_questions(scope: Scope, names: Sequence[str]) -> list[Question]:
    """Return the questions of the named groups, in the board's order."""
    found = [question for module in _MODULES for question in module.questions(scope) if question.group in names]
    order = list(GROUPS)
    return sorted(found, key=lambda question: order.index(question.group))
