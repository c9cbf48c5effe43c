"""Measures the sharpness of a trained run, in those of the wanted spaces that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from analysis import FlatnessSettings, SpaceError, measure_flatness, parameter_space
from analysis.progress import within
from benchmarks.architecture import Architecture, Row
from benchmarks.landscapes import measure_landscapes
from benchmarks.progress import Update
from benchmarks.scoring import metric_score
from benchmarks.spec import RunSpec
from benchmarks.tasks import Task
from benchmarks.widening import widen

# Examples at a time while measuring curvature: the graph of a gradient is kept, so this bounds the memory.
MEASUREMENT_BATCH = 16


def measure(
    spec: RunSpec, model: Any, task: Task, train_rows: Sequence[Row], architecture: Architecture, update: Update
) -> dict[str, Any]:
    """Return what `measurement.json` holds of a trained model, on its first training rows.

    Scores along a robustness curve are those of the first examples that are scored.

    Raises:
        SpaceError: If it has none of the spaces that were asked for.
    """
    assert spec.measurement is not None
    count = min(int(spec.measurement["examples"]), len(train_rows))
    settings = FlatnessSettings(**spec.measurement["flatness"])
    widen(model)
    available, missing = _spaces(model, settings.spaces)
    settings = replace(settings, spaces=available)
    size = min(MEASUREMENT_BATCH, spec.evaluation_batch_size or MEASUREMENT_BATCH)
    loss = architecture.objective(model, train_rows[:count], size=size, once=True)
    kinds = spec.measurement.get("landscape", ())
    part = within(update, 0.0, 0.5, label="flatness") if kinds else update
    flatness = asdict(measure_flatness(loss, model, settings, on_progress=part))
    if kinds:
        asked = architecture.asked(task, spec.scored)[: spec.test_examples][: spec.evaluation_examples]
        metric = architecture.metric(task)
        more = measure_landscapes(
            loss,
            model,
            settings,
            kinds=kinds,
            score=lambda moved: metric_score(metric, architecture.score(moved, task, asked)),
            examples=len(asked),
            on_progress=within(update, 0.5, 1.0, label="landscape"),
        )
        for name, found in more.items():
            flatness["spaces"][name] |= found
    return {**flatness, "data": {"split": "train", "examples": count}, "not_measured": missing}


def _spaces(model: Any, wanted: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the spaces that the model has, and why it has not the others: HiRA has no (A, B) with W = W0 + s B A.

    Raises:
        SpaceError: If it has none of them.
    """
    available: list[str] = []
    missing: dict[str, SpaceError] = {}
    for name in wanted:
        try:
            parameter_space(model, name)
            available.append(name)
        except SpaceError as error:
            missing[name] = error
    if not available:
        raise missing[wanted[0]]
    return tuple(available), {name: str(error) for name, error in missing.items()}
