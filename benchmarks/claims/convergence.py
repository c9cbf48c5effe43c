"""Figures 2 and 3: what happens to the factors while they train.

Figure 3: the auxiliary turns towards its final state later than the primary does. Measured is the cosine of a factor
to its final state, the primary's less the auxiliary's, averaged over the recorded steps before the last. Figure 2:
in LoRA-SAM's perturbation of the weights, s (B eps_A + eps_B A) + s eps_B eps_A, the last term is below 1e-4 of the
rest. Measured is the ratio of the two norms, averaged over the recorded steps at which the adapter is not zero.
"""

from __future__ import annotations

from functools import partial

from benchmarks.claims.cuts import over_tasks
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.scope import BILORA, LORA_SAM, Scope
from benchmarks.claims.verdict import Missing, Question, Region
from reports.crossed import Measured
from reports.dynamics import Dynamics
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


def _dynamics(run: Run) -> Dynamics:
    if run.dynamics is None:
        reason = run.faults.get("dynamics.json", "there is no dynamics.json")
        raise Missing(f"run {run.key}: no record of its training: {reason}")
    return run.dynamics


def _lag(evidence: Evidence, *, tasks: tuple[str, ...], factor: str) -> Measured:
    def value(run: Run) -> float:
        cosines = _dynamics(run).cosines
        primary, auxiliary = (dict(cosines.get((pair, factor), ())) for pair in ("primary", "auxiliary"))
        # B starts at zero, which has no direction; the last state is the final one, whose cosine is 1.
        steps = sorted(primary.keys() & auxiliary.keys())[:-1]
        if not steps:
            raise Missing(f"run {run.key} recorded no step at which both adapters have a direction")
        return sum(primary[step] - auxiliary[step] for step in steps) / len(steps)

    return evidence.mean(BILORA, tasks, value)


def _second_order(evidence: Evidence, *, tasks: tuple[str, ...]) -> Measured:
    def value(run: Run) -> float:
        ratios = [ratio for _, ratio in _dynamics(run).second_order]
        if not ratios:
            raise Missing(f"run {run.key} recorded no perturbation of both factors")
        return sum(ratios) / len(ratios)

    return evidence.geometric_mean(LORA_SAM, tasks, value)
