"""The columns of a run's row, from what was trained, scored and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.scoring import ScoredExample, mean_parts
from benchmarks.spec import RunSpec
from benchmarks.training import TrainedRun

_ALWAYS_IN_THE_ROW = ("full", "lora")


def score_columns(examples: Sequence[ScoredExample]) -> dict[str, Any]:
    """Return the names of the parts of a score, and each one's mean; nothing where it has none."""
    parts = mean_parts(examples)
    return {"score_parts": " ".join(parts)} | {f"{name}_score": mean for name, mean in parts.items()} if parts else {}


def training_columns(spec: RunSpec, trained: TrainedRun) -> dict[str, Any]:
    """Return what training cost and how far its method perturbed, means over the log."""
    logged = {
        name: [record[name] for record in trained.history if name in record]
        for name in ("perturbation_norm", "clip_active")
    }
    means = {name: sum(values) / len(values) if values else None for name, values in logged.items()}
    return {
        "step_seconds": trained.step_seconds,
        "step_gradients": trained.step_gradients,
        "gradient_evaluations": trained.method.cost.gradients,
        "forward_evaluations": trained.method.cost.forwards,
        "extra_memory_bytes": trained.method.extra_memory(),
        # A method that logs no perturbation makes none.
        "perturbation_norm": means["perturbation_norm"] or 0.0,
        "clip_active": means["clip_active"],
        "steps": spec.steps,
    }


def sharpness_columns(measurement: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns of every space that was measured, and those of full and lora in any case, empty if not."""
    measured: dict[str, Any] = measurement["spaces"] if measurement else {}
    columns: dict[str, Any] = {}
    for space in dict.fromkeys((*_ALWAYS_IN_THE_ROW, *measured)):
        values = measured.get(space, {})
        for name, end in (("lambda_max", "top"), ("lambda_min", "bottom")):
            pairs: Sequence[dict[str, Any]] = values.get(end) or ({},)
            pair = pairs[0]
            columns[f"{name}_{space}"] = pair.get("value")
            columns[f"{name}_residual_{space}"] = pair.get("residual")
        for name in ("worst_case", "average_case"):
            columns[f"{name}_{space}"] = (values.get(name) or {}).get("increase")
    return columns
