"""Table 7: a step of Bi-LoRA costs what one of LoRA costs.

"What LoRA costs" is less than 1.10 times LoRA's step; the paper prints 9.71 s against 8.93 s, 1.09 times, and calls
that comparable. Two measurements: the committed record of steps on published model shapes on one H200, whose interval
speaks of the blocks of one run on one machine; and the runs of this board, each step timed against a plain gradient
beside it. On a small model on a GPU a step waits for launches, and several runs at once on one device share it: that
ratio is of the command, not of the method alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.claims.cuts import over_tasks
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.scope import BILORA, LORA, Scope
from benchmarks.claims.verdict import Missing, Question, Region
from reports.crossed import Measured, student_interval
from reports.runs import Run

RECORD = Path(__file__).parents[1] / "results" / "efficiency-h200.json"
MARGIN = 1.10
#: Quartiles of a normal law lie this many standard deviations apart.
_QUARTILES = 1.349
#: Standard error of a median over that of a mean, for a normal law.
_MEDIAN = math.sqrt(math.pi / 2.0)
CLAIM = "A step of Bi-LoRA costs what a step of LoRA costs"


def questions(scope: Scope) -> list[Question]:
    """Return the committed record's question and that of the board's own runs."""
    recorded = Question(
        group="cost",
        claim=CLAIM,
        source="Table 7",
        scope="published model shapes, committed record",
        quantity="time of a step, bilora over lora",
        unit="ratio",
        region=Region(high=MARGIN),
        arms=(),
        tasks=(),
        measure=lambda evidence: recorded_ratio(_records()),
    )
    own = [
        Question(
            group="cost",
            claim=CLAIM,
            source="Table 7",
            scope=name,
            quantity="time of a step in plain gradients, bilora over lora",
            unit="ratio",
            region=Region(high=MARGIN),
            arms=(BILORA, LORA),
            tasks=tasks,
            measure=partial(_own_ratio, tasks=tasks),
            detail=part,
        )
        for name, tasks, part in over_tasks(scope)
    ]
    return [recorded, *own]


def _records() -> list[dict[str, Any]]:
    try:
        records: list[dict[str, Any]] = json.loads(RECORD.read_text())["records"]
    except (OSError, ValueError, KeyError) as error:
        raise Missing(f"{RECORD.name} cannot be read: {error}") from None
    return records


def recorded_ratio(records: Sequence[Mapping[str, Any]]) -> Measured:
    """Return Bi-LoRA's step over LoRA's, the geometric mean over models and shapes that have both.

    A median's standard error is taken from its quartiles, as for a normal law.

    Raises:
        Missing: If no model and shape has both.
    """
    steps = {
        (record["model"], record["shape"], record["method"]): record
        for record in records
        if record["path"] == "graphed" and record["step_ms"]
    }
    ratios, components = [], []
    for (model, shape, method), own in steps.items():
        plain = steps.get((model, shape, "lora"))
        if method != "bilora" or plain is None:
            continue
        ratios.append(math.log(own["step_ms"] / plain["step_ms"]))
        components += [_relative_variance(record) for record in (own, plain)]
    if not ratios:
        raise Missing(f"{RECORD.name} holds no step of Bi-LoRA beside one of LoRA")
    found = student_interval(
        sum(ratios) / len(ratios), [(variance / len(ratios) ** 2, degrees) for variance, degrees in components]
    )
    value, low, high = (math.exp(x) for x in (found.value, found.low, found.high))
    return Measured(value=value, low=low, high=high, degrees=found.degrees)


def _relative_variance(record: Mapping[str, Any]) -> tuple[float, float]:
    deviation = (record["step_ms_high"] - record["step_ms_low"]) / _QUARTILES / record["step_ms"]
    return (_MEDIAN * deviation) ** 2 / record["rounds"], record["rounds"] - 1.0


def _own_ratio(evidence: Evidence, *, tasks: tuple[str, ...]) -> Measured:
    def value(run: Run) -> float:
        cost = run.row.get("step_gradients")
        if not isinstance(cost, int | float):
            raise Missing(run.why_missing("step_gradients"))
        return float(cost)

    return evidence.ratio(BILORA, LORA, tasks, value)
