"""What the cells and sentences of a page should say, from the data frames of `traced.Truth`, table by table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from tests.reports.traced import LABELS, SPACES, Truth, wait

TASKS, SEEDS, COUNT = ("pocket-math", "pocket-code"), (0, 1, 2), 40
Key = tuple[str, str, str, str]
#: What a cell shows, in order: (value, slack).
Values = list[tuple[float, float]]


def exact(*values: float) -> Values:
    return [(float(value), 0.0) for value in values]


def over_seeds(values: np.ndarray, *, score: bool = False) -> Values:
    """Return mean and standard error; a spread of rounding alone is not printed beside anything but a score."""
    error = wait(values)
    told = len(values) > 1 and (score or error > 1e-9 * abs(values.mean()))
    return exact(values.mean(), error) if told else exact(values.mean())


def bounded(value: float, low: float, high: float) -> Values:
    slack = 0.1 * (high - low)
    return [(value, 0.0), (low, slack), (high, slack)]


def comparison_cells(truth: Truth, task: str, method: str) -> dict[str, Values]:
    def column(field: str, scale: float = 1.0) -> np.ndarray:
        return scale * truth.column(task, method, field).to_numpy()

    difference, low, high = truth.difference(task, method)
    return {
        "Exact match": over_seeds(column("score", 100), score=True),
        "Difference to LoRA": [] if method == "lora" else bounded(difference, low, high),
        "Train exact match": over_seeds(column("train_score", 100)),
        "Train loss": over_seeds(column("train_loss")),
        "Test loss": over_seeds(column("eval_loss")),
        "Gap": over_seeds(column("generalization_gap")),
        "Cost": exact(truth.cost(task, method).mean(), column("step_seconds", 1000).mean()),
        "Gradients": over_seeds(column("gradient_evaluations")),
        "Peak memory": over_seeds(column("peak_memory_bytes", 2.0**-30)),
        "‖ΔW‖ perturbed": over_seeds(column("perturbation_norm")),
    }


def sharpness_cells(truth: Truth, task: str, method: str, space: str) -> dict[str, Values]:
    found = truth.space(task, method, space)

    def field(name: str, part: str = "increase") -> np.ndarray:
        return np.array([record[name][part] for record in found])

    def end(name: str) -> Values:
        pairs = [record[name][0] for record in found]
        values = over_seeds(np.array([pair["value"] for pair in pairs]))
        return values + exact(max(pair["residual"] for pair in pairs))

    draws = field("average_case", "standard_error").max()
    return {
        "λ max": end("top"),
        "λ min": end("bottom"),
        "Worst case, one step": over_seeds(field("worst_case_one_step")),
        "Worst case, ascent": over_seeds(field("worst_case")),
        "Average case": over_seeds(field("average_case")) + exact(draws),
        "Radius ρ": exact(field("worst_case", "radius")[0], field("average_case", "radius")[0]),
        "Products": exact(np.mean([record["products"] for record in found])),
    }


def overview_cells(truth: Truth, method: str) -> dict[str, Values]:
    by_task = [truth.column(task, method, "score") for task in TASKS]
    memory = max(truth.column(task, method, "peak_memory_bytes").mean() for task in TASKS)
    average = 100 * np.mean([scores.to_numpy() for scores in by_task], axis=0)
    return {
        **{task: over_seeds(100 * s.to_numpy(), score=True) for task, s in zip(TASKS, by_task, strict=True)},
        "Average": over_seeds(average, score=True),
        "Cost": exact(np.mean([truth.cost(task, method).mean() for task in TASKS])),
        "Memory": exact(memory / 2**30),
    }


def aggregate_cells(truth: Truth, method: str) -> dict[str, Values]:
    def scores(name: str) -> np.ndarray:
        return np.array([truth.column(task, name, "score").to_numpy() for task in TASKS])

    generator = np.random.default_rng(12)

    def resample(found: np.ndarray) -> np.ndarray:
        return np.array([generator.choice(row, size=len(row)) for row in found])

    def improves(own: np.ndarray, theirs: np.ndarray) -> float:
        pairs = [(a, b) for row, other in zip(own, theirs, strict=True) for a in row for b in other]
        return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)

    takes = {
        "Interquartile mean": lambda found: 100 * stats.trim_mean(found.ravel(), 0.25),
        "Median": lambda found: 100 * np.median(found.mean(axis=1)),
        "Mean": lambda found: 100 * found.mean(),
        "Optimality gap": lambda found: 100 - 100 * found.mean(),
    }
    own, reference = scores(method), scores("lora")
    drawn = [resample(own) for _ in range(1500)]
    cells = {
        name: bounded(take(own), *np.quantile([take(one) for one in drawn], [0.025, 0.975]))
        for name, take in takes.items()
    }
    if method == "lora":
        return cells | {"Improvement": []}
    better = [improves(resample(own), resample(reference)) for _ in range(1000)]
    return cells | {"Improvement": bounded(improves(own, reference), *np.quantile(better, [0.025, 0.975]))}


def cost_cells(truth: Truth, task: str, method: str) -> dict[str, Values]:
    cells = comparison_cells(truth, task, method)
    return {
        "Step": over_seeds(1000 * truth.column(task, method, "step_seconds").to_numpy()),
        "Relative": over_seeds(truth.cost(task, method).to_numpy()),
        "Gradients": cells["Gradients"],
        "Peak memory": cells["Peak memory"],
        "Extra state": [],
    }


def student(truth: Truth, method: str, tasks: tuple[str, ...]) -> tuple[float, float, float]:
    """Return the pooled difference to plain LoRA with its interval: seeds and examples random (Satterthwaite)."""
    tables = [np.subtract(*truth.pair(task, method)) for task in tasks]
    by_seed = np.mean([table.mean(axis=1) for table in tables], axis=0)
    parts = [(by_seed.var(ddof=1) / len(by_seed), len(by_seed) - 1)]
    for table in tables:
        seeds, examples = table.shape
        rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
        noise = (rest**2).sum() / ((seeds - 1) * (examples - 1))
        between = max(seeds * table.mean(axis=0).var(ddof=1) - noise, 0.0)
        parts.append((between / (seeds * examples * len(tables) ** 2), examples - 1))
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(variance)
    middle = float(by_seed.mean())
    return 100 * middle, 100 * (middle - half), 100 * (middle + half)


def task_values(truth: Truth, task: str) -> Iterator[float]:
    """Yield what captions and text alternatives of a task say beyond its tables."""
    yield from (COUNT, *SEEDS, len(SEEDS))
    # How often an interval of few seeds covers the truth, and how many are needed.
    yield from (100 * (1 - 2.0 ** (1 - seeds)) for seeds in (2, 3))
    for method in LABELS:
        histories = [
            json.loads((truth.folder / "runs" / f"{method}-{task}-s{seed}" / "history.json").read_text())
            for seed in truth.column(task, method, "score").index
        ]
        ends = [[r for r in history if "validation_loss" in r][-1] for history in histories]
        yield from (np.mean([end["validation_loss"] for end in ends]), ends[0]["step"])
        for space in SPACES:
            cuts = [record["slices"] for record in truth.space(task, method, space)]
            losses = np.array([cut["losses"] for cut in cuts])
            centre = cuts[0]["alphas"].index(0.0)
            yield from (np.mean(losses[:, :, -1] - losses[:, :, centre]), np.mean(losses[:, :, centre]))
            yield from (losses.shape[1], cuts[0]["alphas"][-1], cuts[0]["weight_norms"][0][-1])


def pools(truth: Truth, expected: dict[Key, Values]) -> dict[str, Values]:
    """Return the values that the sentences of each section may show."""
    found: dict[str, Values] = {}
    for task in TASKS:
        own = [v for key, values in expected.items() if key[0].endswith(task) for v in values]
        dimensions = [truth.space(task, "lora", space)[0]["dimension"] for space in SPACES]
        found[task] = own + exact(*task_values(truth, task), *dimensions, holes(truth), len(truth.plan["planned"]))
    summary = [v for key, values in expected.items() if key[0] in ("overview", "aggregates", "cost") for v in values]
    for method in LABELS:
        for tasks in ((task,) for task in TASKS):
            summary += exact(*student(truth, method, tasks)) if method != "lora" else []
        summary += exact(*student(truth, method, TASKS)) if method != "lora" else []
    found["all-tasks"] = summary + exact(len(TASKS), *(100 * v for v, _ in []))
    found["runs"] = exact(*SEEDS) + [v for key, values in expected.items() if "comparison" in key[0] for v in values]
    found["runs"] += exact(*(100 * truth.runs.score))
    found[""] = exact(*SEEDS, len(truth.runs), len(truth.plan["planned"]))
    found["holes"] = exact(*SEEDS)
    return found


def holes(truth: Truth) -> int:
    return len(truth.plan["planned"]) - len(truth.runs)
