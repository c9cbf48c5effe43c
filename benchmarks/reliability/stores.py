"""A small store with a file of every kind, as `benchmarks.compare` writes them, for trials that damage one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_small_store(folder: Path) -> None:
    """Write a comparison of two methods with one failed run."""
    planned = [
        {"key": f"pocket-math-{method}-seed0-{number:012x}", "method": method, "task": "pocket-math", "seed": 0}
        for number, method in enumerate(("lora", "bilora", "lora-sam"))
    ]
    folder.mkdir(parents=True)
    _write(
        folder / "comparison.json",
        {
            "schema": 1, "command": "python -m benchmarks.compare", "created": "2026-11-27T00:00:00+00:00",
            "methods": ["lora", "bilora", "lora-sam"], "tasks": ["pocket-math"], "seeds": [0], "baseline": "lora",
            "runs": [plan["key"] for plan in planned], "planned": planned,
            "tuning": [{"method": "lora", "task": "pocket-math", "runs": 2, "gradient_evaluations": 8.0, "chosen": 0,
                        "radius_option": None, "trials": [
                            {"key": "a", "learning_rate": 1e-3, "radius": None, "score": 0.5, "problem": None},
                            {"key": "b", "learning_rate": 2e-3, "radius": None, "score": None, "problem": "diverged"},
                        ]}],
            "preset": {"name": "table1-llama2-math", "part": "", "names": {}, "published": [
                {"table": "1", "model": "Llama-2-7B", "task": "gsm8k", "metric": None, "run": "pocket-math",
                 "measured": "score"}]},
            "conventions": {"Radius": "of a weight change"}, "environment": {"torch": "2.13"},
        },
    )  # fmt: skip
    for plan in planned[:2]:
        _write_run(folder / "runs" / str(plan["key"]), plan)
    failed = {"key": planned[2]["key"], "spec": {}, "stage": "train", "message": "training diverged: the loss is nan"}
    (folder / "failed").mkdir()
    _write(folder / "failed" / f"{planned[2]['key']}.json", failed)


def _write_run(folder: Path, plan: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    row = {name: plan[name] for name in ("method", "task", "seed", "key")} | {
        "metric": "exact match", "full_marks": 100, "score": 0.5, "train_score": 0.75, "loss_kind": "token",
        "train_loss": 0.1, "eval_loss": 0.3, "generalization_gap": 0.2, "step_seconds": 0.05, "step_gradients": 1.1,
        "gradient_evaluations": 8.0, "forward_evaluations": 0.0, "extra_memory_bytes": 0, "peak_memory_bytes": 10**8,
        "perturbation_norm": 0.05, "clip_active": None, "steps": 4, "lambda_max_full": 2.0, "lambda_max_lora": 3.0,
    }  # fmt: skip
    record = {
        "schema": 1, "key": plan["key"], "row": row, "failure": None, "started": "a", "finished": "b",
        "spec": {"method": plan["method"], "options": {"rho": 0.05}, "model": "pocket-llama", "steps": 4,
                 "learning_rate": 1e-3, "task_version": "1"},
        "environment": {"torch": "2.13", "device": "cpu"}, "seconds": {"train": 1.0},
        "micro_batch_size": {"asked": 4, "used": 2},
    }  # fmt: skip
    _write(folder / "run.json", record)
    _write(folder / "history.json", [{"step": s, "loss": 1.0 / s, "validation_loss": 1.0 / s} for s in (1, 2, 3, 4)])
    answers = [
        {"index": i, "prompt": f"question {i}", "reference": "yes", "generated": "yes", "score": float(i % 2)}
        for i in range(4)
    ]
    _write(folder / "examples.json", answers)
    space = {
        "dimension": 100, "products": 12, "top": [{"value": 2.0, "residual": 0.01, "converged": True}],
        "bottom": [{"value": -0.5, "residual": 0.01, "converged": True}],
        "worst_case": {"increase": 0.1, "radius": 0.05}, "worst_case_one_step": {"increase": 0.09, "radius": 0.05},
        "average_case": {"increase": 0.01, "radius": 1.0, "standard_error": 0.001},
        "slices": {"alphas": [-1.0, 0.0, 1.0], "losses": [[0.5, 0.3, 0.6]], "weight_norms": [[1.0, 0.0, 1.0]]},
    }  # fmt: skip
    _write(folder / "measurement.json", {"loss": 0.3, "settings": {}, "spaces": {"full": space, "lora": space}})
    cosines = {"A": [0.1, 0.5, 1.0], "B": [0.2, 0.6, 1.0], "product": [0.1, 0.4, 1.0]}
    _write(
        folder / "dynamics.json",
        {"steps": [0, 2, 4], "primary": cosines, "auxiliary": cosines, "quality": [[2, {"quality": 0.5}]],
         "terms": [[2, {"bilinear": 0.01, "linear": 1.0}]]},
    )  # fmt: skip
    scores = {"gsm8k": {"metric": "exact_match", "value": 0.4, "standard_error": 0.01}}
    _write(folder / "lm-eval.json", scores)
    np.save(folder / "pictures.npy", np.zeros((4, 3, 8, 8), dtype=np.uint8))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
