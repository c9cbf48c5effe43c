"""What runs are expected to take, so that the longest can be taken first.

In this order: what finished runs of the same store took that differ in their seed alone; the plan's estimate of
training (`benchmarks.estimates`); or, for a model of which no step was measured, rows times the method's cost, on the
scale of the shipped model. The first and the others are in seconds of different things (a whole run, its training), and
only the order counts: runs without a finished pair are scaled to what finished ones took over their estimates.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from benchmarks.dry_run import ASSUMED_TOKENS
from benchmarks.estimates import HUB_SHAPES, Step, estimate, pocket_estimate
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from bilora.methods import METHODS

#: Seconds of a gradient of one row of the shipped model on two CPU cores, where nothing nearer was measured.
SECONDS_OF_A_ROW = 0.0084


def expected_seconds(specs: Sequence[RunSpec], store: RunStore) -> list[float]:
    """Return what each run is expected to take."""
    took = _finished(store)
    estimates = [estimated_seconds(spec) for spec in specs]
    known = [took.get(family(spec)) for spec in specs]
    ratios = [seconds / guess for seconds, guess in zip(known, estimates, strict=True) if seconds is not None]
    scale = statistics.median(ratios) if ratios else 1.0
    return [guess * scale if seconds is None else seconds for seconds, guess in zip(known, estimates, strict=True)]


def estimated_seconds(spec: RunSpec) -> float:
    """Return the plan's estimate of training."""
    passes = spec.batch_size // spec.micro_batch_size
    if spec.model in HUB_SHAPES:
        step = Step(
            model=HUB_SHAPES[spec.model],
            method=spec.method,
            quantize=spec.quantize,
            rows=spec.micro_batch_size,
            tokens=spec.max_length or ASSUMED_TOKENS,
            graphed=spec.cuda_graphs,
            trains_all_weights=METHODS[spec.method].trains_all_weights,
            rank=spec.rank,
            dtype=spec.dtype,
            gradient_checkpointing=spec.gradient_checkpointing,
        )
        return estimate(step).seconds * passes * spec.steps
    measured = pocket_estimate(spec.method, rows=spec.micro_batch_size)
    if measured is not None:
        return measured.seconds * passes * spec.steps
    return SECONDS_OF_A_ROW * (METHODS[spec.method].published_cost or 1.0) * spec.batch_size * spec.steps


def _finished(store: RunStore) -> dict[str, float]:
    """Return the mean seconds of finished runs, by what they have in common but for the seed."""
    found: dict[str, list[float]] = {}
    for record in sorted(store.runs.glob("[!.]*/run.json")):
        try:
            content = json.loads(record.read_bytes())
            seconds = sum(float(value) for value in content["seconds"].values())
            found.setdefault(family(RunSpec(**content["spec"])), []).append(seconds)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue  # of another version, or cut off
    return {name: statistics.fmean(seconds) for name, seconds in found.items()}


def family(spec: RunSpec) -> str:
    """Return what runs have in common that differ in their seed alone."""
    content = spec.as_dict()
    del content["seed"]
    return json.dumps(content, sort_keys=True, default=str)
