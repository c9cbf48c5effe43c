"""Figures 2 and 3: what happens to the factors while they train.

Figure 3: the auxiliary turns towards its final state later than the primary does. Measured is the cosine of a factor
to its final state, the primary's less the auxiliary's, averaged over the recorded steps before the last. Figure 2:
in LoRA-SAM's perturbation of the weights, s (B eps_A + eps_B A) + s eps_B eps_A, the last term is below 1e-4 of the
rest. Measured is the ratio of the two norms, averaged over the recorded steps at which the adapter is not zero.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from benchmarks.claims.cuts import over_tasks
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.scope import BILORA, LORA_SAM, Scope
from benchmarks.claims.verdict import Missing, Question, Region
from reports.crossed import Measured
from reports.runs import Run

NEGLIGIBLE = 1e-4


def questions(scope: Scope) -> list[Question]:
    """Return the lag of either factor and the size of the second-order term, over all tasks and on each."""
    cuts = list(over_tasks(scope))
    lags = [
        Question(
            group="convergence",
            claim=f"The auxiliary {factor} converges more slowly than the primary {factor}",
            source="Figure 3",
            scope=name,
            quantity="cosine to the final state, primary minus auxiliary, mean over training",
            unit="cosine",
            region=Region(low=0.0),
            arms=(BILORA,),
            tasks=tasks,
            measure=partial(_lag, tasks=tasks, factor=factor),
            detail=part,
        )
        for factor in ("A", "B")
        for name, tasks, part in cuts
    ]
    terms = [
        Question(
            group="cross-term",
            claim="The second-order term of LoRA-SAM's perturbation is below 1e-4 of the first-order ones",
            source="Figure 2",
            scope=name,
            quantity="||eps_B eps_A|| over ||B eps_A + eps_B A||, mean over training",
            unit="ratio",
            region=Region(high=NEGLIGIBLE),
            arms=(LORA_SAM,),
            tasks=tasks,
            measure=partial(_second_order, tasks=tasks),
            detail=part,
        )
        for name, tasks, part in cuts
    ]
    return [*lags, *terms]


def _record(evidence: Evidence, run: Run) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(evidence.file(run, "dynamics.json").read_text())
    except (OSError, ValueError) as error:
        raise Missing(f"run {run.key}: no record of its training: {error}") from None
    return content


def _lag(evidence: Evidence, *, tasks: tuple[str, ...], factor: str) -> Measured:
    def value(run: Run) -> float:
        record = _record(evidence, run)
        pairs = zip(record["primary"][factor][:-1], record["auxiliary"][factor][:-1], strict=True)
        # B starts at zero, which has no direction.
        known = [first - second for first, second in pairs if first is not None and second is not None]
        if not known:
            raise Missing(f"run {run.key} recorded no step at which both adapters have a direction")
        return float(sum(known) / len(known))

    return evidence.mean(BILORA, tasks, value)


def _second_order(evidence: Evidence, *, tasks: tuple[str, ...]) -> Measured:
    def value(run: Run) -> float:
        terms = [parts for _, parts in _record(evidence, run)["terms"]]
        # In the first step B is zero, so that A has no gradient and there is no second-order term.
        ratios = [parts["bilinear"] / parts["linear"] for parts in terms if parts["bilinear"] > 0.0]
        if not ratios:
            raise Missing(f"run {run.key} recorded no perturbation of both factors")
        return float(sum(ratios) / len(ratios))

    return evidence.geometric_mean(LORA_SAM, tasks, value)
