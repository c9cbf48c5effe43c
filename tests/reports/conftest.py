"""Synthetic run stores, written file by file from the run store's contract."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

METHODS = ("lora", "lora-sam", "bilora")
SKILL = {"lora": 0.48, "lora-sam": 0.53, "bilora": 0.66}
COST = {"lora": 1.0, "lora-sam": 1.97, "bilora": 1.14}
CURVATURE = {"lora": 14.2, "lora-sam": 9.1, "bilora": 7.6}
ALPHAS = [round(-1 + 0.125 * place, 4) for place in range(17)]

MakeStore = Callable[..., Path]


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def run_key(method: str, task: str, seed: int) -> str:
    return f"{method}-{task}-s{seed}"


def _examples(method: str, seed: int, count: int) -> list[dict[str, Any]]:
    # Example difficulty is shared by all runs, so that pairing matters as it does in reality.
    difficulty = np.random.default_rng(7).uniform(size=count)
    noise = np.random.default_rng([METHODS.index(method), seed]).normal(scale=0.1, size=count)
    return [
        {
            "index": index,
            "prompt": f"Ann has {index + 3} apples and buys {index % 7} more. How many has she?",
            "reference": f"{index + 3} + {index % 7} is the answer: {index + 3 + index % 7}",
            "generated": f"{index + 3} + {index % 7} is the answer: {index + 3 + index % 7 + wrong}",
            "score": float(1 - wrong),
        }
        for index, wrong in enumerate((difficulty + noise > SKILL[method]).astype(int).tolist())
    ]


def _history(method: str, seed: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    offset = 0.02 * METHODS.index(method) + 0.01 * seed
    for step in range(10, 201, 10):
        loss = 0.1 + 1.9 * math.exp(-step / 55) + offset
        records.append({"step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 1 / step})
        if step % 40 == 0:
            evaluated = {"step": step, "validation_loss": 0.5 + math.exp(-step / 40) - offset}
            records.append(evaluated | {"train_eval_loss": 0.08 + 1.6 * math.exp(-step / 50) + offset})
    return records


def _space(method: str, seed: int, scale: float, dimension: int) -> dict[str, Any]:
    top = [CURVATURE[method] * scale * (1 + 0.03 * seed) / (1 + 0.6 * rank) for rank in range(3)]
    bottom = [-0.11 * value for value in top]
    sharp = 0.004 * top[0]
    draws = np.random.default_rng([METHODS.index(method), seed, dimension]).uniform(0.8, 1.2, size=4)
    return {
        "dimension": dimension,
        "top": [_pair(value) for value in top],
        "bottom": [_pair(value) for value in bottom],
        "products": 44,
        "worst_case_one_step": {"increase": 0.8 * sharp, "radius": 0.05},
        "worst_case": {"increase": sharp, "radius": 0.05, "steps": 10},
        "average_case": {
            "increase": 0.01 * sharp,
            "standard_error": 0.001 * sharp,
            "radius": 1.0,
            "draws": 16,
        },
        "slices": {
            "alphas": ALPHAS,
            "losses": [[0.1 + 0.5 * top[0] * draw * a * a / scale for a in ALPHAS] for draw in draws.tolist()],
            "weight_norms": [[abs(a) * 2.5 for a in ALPHAS] for _ in draws],
        },
        "seconds": 3.2,
        "gradient_evaluations": 120,
    }


def _pair(value: float) -> dict[str, Any]:
    residual = 8e-4 * abs(value)
    return {"value": value, "residual": residual, "relative_residual": 8e-4, "converged": True}


def _run(method: str, task: str, seed: int, count: int) -> dict[str, Any]:
    """Return the four JSON files of a run, by name."""
    examples = _examples(method, seed, count)
    place = METHODS.index(method)
    spaces = {"full": _space(method, seed, 1.0, 1_228_800), "lora": _space(method, seed, 3.0, 61_440)}
    train_loss, eval_loss = 0.09 + 0.01 * place + 0.002 * seed, 0.61 - 0.04 * place + 0.004 * seed
    row = {
        "method": method,
        "task": task,
        "seed": seed,
        "metric": "exact match",
        "full_marks": 100,
        "score": sum(example["score"] for example in examples) / count,
        "train_score": 0.97 - 0.01 * place,
        "train_loss": train_loss,
        "eval_loss": eval_loss,
        "generalization_gap": eval_loss - train_loss,
        "step_seconds": 0.0412 * COST[method] * (1 + 0.01 * seed),
        "peak_memory_bytes": 1_400_000_000 + 60_000_000 * place,
        "gradient_evaluations": 400 if method == "lora-sam" else 200,
        "perturbation_norm": 0.0 if method == "lora" else 0.05,
        "lambda_max_full": spaces["full"]["top"][0]["value"],
    }
    spec = {"method": method, "variant": "lora", "options": {"rho": 0.05}, "task": task, "seed": seed}
    run = {
        "schema": 1,
        "key": run_key(method, task, seed),
        "spec": spec | {"model": "pocket-llama", "steps": 200, "batch_size": 32, "learning_rate": 1e-3},
        "row": row,
        "environment": {"torch": "2.13.0"},
        "started": "2026-11-24T10:00:00+00:00",
        "finished": "2026-11-24T10:01:10+00:00",
        "seconds": {"train": 31.0, "evaluate": 12.4, "measure": 21.9},
        "failure": None,
    }
    measurement = {"settings": {"data": "train"}, "loss": train_loss, "spaces": spaces}
    return {
        "run.json": run,
        "history.json": _history(method, seed),
        "examples.json": examples,
        "measurement.json": measurement,
    }


def write_store(
    folder: Path,
    *,
    seeds: tuple[int, ...] = (0,),
    tasks: tuple[str, ...] = ("pocket-math",),
    failed: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
    count: int = 512,
) -> Path:
    """Write a store; `failed` and `absent` name methods whose last seed failed, or has not run yet."""
    planned = [
        {"key": run_key(method, task, seed), "method": method, "task": task, "seed": seed}
        for task in tasks
        for seed in seeds
        for method in METHODS
    ]
    comparison = {
        "schema": 1,
        "command": "python -m benchmarks.compare --methods lora,lora-sam,bilora --out comparison",
        "created": "2026-11-24T10:00:00+00:00",
        "methods": list(METHODS),
        "tasks": list(tasks),
        "seeds": list(seeds),
        "baseline": "lora",
        "runs": [plan["key"] for plan in planned],
        "planned": planned,
        "conventions": {
            "Radius": "Bi-LoRA's ρ bounds sqrt(Σ ‖s B₂ A₂‖²_F) over all layers, with s = α/r inside; "
            "LoRA-SAM's ρ is the global L2 norm over all (A, B).",
            "Reduction": "Losses are means over completion tokens.",
            "Gauge": "The LoRA space is measured in the balanced gauge, A Aᵀ = Bᵀ B in every layer.",
        },
        "environment": {"python": "3.11.2", "torch": "2.13.0", "cpu": "2 cores"},
    }
    write_json(folder / "comparison.json", comparison)
    for plan in planned:
        key, method, task, seed = plan["key"], str(plan["method"]), str(plan["task"]), int(str(plan["seed"]))
        if method in failed and seed == seeds[-1]:
            failure = {"stage": "train", "message": "loss became NaN at step 40", "spec": {}}
            write_json(folder / "failed" / f"{key}.json", failure | {"key": key, "time": "2026-11-24T10:02:00"})
        elif not (method in absent and seed == seeds[-1]):
            for name, content in _run(method, task, seed, count).items():
                write_json(folder / "runs" / str(key) / name, content)
    return folder


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Return a function that writes a synthetic store into a fresh folder and returns the folder."""

    def make(name: str = "store", **options: Any) -> Path:
        return write_store(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of three methods and one seed; read only."""
    return write_store(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three methods and three seeds in which one run failed; read only."""
    return write_store(tmp_path_factory.mktemp("three"), seeds=(0, 1, 2), failed=("lora-sam",))
