"""Every number on a page is traced to the runs' JSON, by a second computation that shares no code with `reports`.

Covered: each cell of each table (its printed digits, its error or bounds, the full-precision value it sorts by), each
sentence, caption, text alternative, column definition and heading, the list of runs, and the data that runs unfold to
(`test_drilldown`). Markdown is held to the page cell by cell and sentence by sentence. A cell is checked at its place;
a sentence's numbers must each be a value of its own section. Bounds from resampling are met by a bootstrap of our own
within a tenth of the interval's width. Not covered: ticks inside drawings, whose lines and points `test_figures`,
`test_recorded_figures`, `test_landscape_figures` and `test_sensitivity` compare with the files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from scipy import stats

from reports.page import html_page, markdown_page
from reports.sections import build_section, build_summary, run_detail
from reports.store import load_store
from tests.reports.conftest import write_store
from tests.reports.traced import LABELS, SPACES, Number, Printed, Truth, numbers, wait

TASKS, SEEDS, COUNT = ("pocket-math", "pocket-code"), (0, 1, 2), 40
Key = tuple[str, str, str, str]
#: What a cell shows, in order: (value, slack).
Values = list[tuple[float, float]]

#: Phrases whose digits are no measurement: levels of tests and intervals, names of publications, what stands at zero.
CONSTANT = (
    r"95 %", r"at 5 %", r"below 5 %", r"et al\., \d{4}", r"Table A\d+", r"cannot carry 95", r"at most 60 records",
    r"keep four digits",
)  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, Printed, str]:
    folder = tmp_path_factory.mktemp("traced")
    write_store(folder / "store", seeds=SEEDS, tasks=TASKS, failed=("lora-sam",), count=COUNT)
    store = load_store(folder / "store")
    sections = [build_section(store, task) for task in store.tasks]
    summary = build_summary(store, sections)
    page = html_page(store, summary, sections, [run_detail(run) for run in store.runs])
    return Truth(folder / "store"), Printed(page), markdown_page(store, summary, sections)


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


@pytest.fixture(scope="module")
def expected(rendered: tuple[Truth, Printed, str]) -> dict[Key, Values]:
    truth = rendered[0]
    cells: dict[Key, Values] = {}

    def put(table: str, group: str, method: str, found: dict[str, Values]) -> None:
        cells.update({(table, group, LABELS[method], head): values for head, values in found.items()})

    for method in LABELS:
        put("overview", "", method, overview_cells(truth, method))
        put("aggregates", "", method, aggregate_cells(truth, method))
    for task, method in truth.everything():
        put(f"comparison-{task}", "", method, comparison_cells(truth, task, method))
        put("cost", task, method, cost_cells(truth, task, method))
        for space, heading in SPACES.items():
            dimension = truth.space(task, method, space)[0]["dimension"]
            group = f"{heading}, {dimension:,} coordinates"
            put(f"sharpness-{task}", group, method, sharpness_cells(truth, task, method, space))
    return cells


#: Columns that sort by the stored unit and are printed in another: shares of one, bytes.
UNITS = {("overview", name): 0.01 for name in (*TASKS, "Average")}
UNITS |= {("comparison", name): 0.01 for name in ("Exact match", "Difference to LoRA", "Train exact match")}
UNITS |= {("comparison", "Peak memory"): 2.0**30}


def test_every_cell_of_every_table_is_a_second_computation(
    rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]
) -> None:
    found = rendered[1].cells
    assert set(found) == set(expected)
    checked = 0
    for key, values in expected.items():
        shown = numbers(found[key]["text"]) + numbers(found[key]["small"])
        assert len(shown) == len(values), (key, found[key], values)
        for number, (value, slack) in zip(shown, values, strict=True):
            assert number.shows(value, slack), (key, number.text, value)
        if values:
            full = values[0][0] * UNITS.get((key[0].split("-")[0], key[3]), 1.0)
            assert float(found[key]["value"]) == pytest.approx(full, rel=1e-9, abs=1e-12), key
        else:
            assert found[key]["text"] in ("baseline", "—"), key
        checked += len(shown)
    # Three methods, two tasks, two spaces: nothing fell out of the parser.
    assert len(found) == 3 * (5 + 5) + 2 * 3 * (10 + 5) + 2 * 2 * 3 * 7
    assert checked > 380


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


def verbatim(truth: Truth) -> set[str]:
    """Return the texts that a page repeats as they are stored."""
    created = datetime.fromisoformat(truth.plan["created"])
    texts = {truth.plan["command"], f"{created.day} {created:%B %Y, %H:%M} UTC"}
    texts |= {*truth.plan["conventions"].values(), *truth.plan["environment"].values()}
    failures = [json.loads(path.read_text()) for path in (truth.folder / "failed").glob("*.json")]
    return texts | {f"failed in {failure['stage']}: {failure['message']}" for failure in failures}


def unexplained(text: str, allowed: Values) -> list[Number]:
    for phrase in CONSTANT:
        text = re.sub(phrase, "", text)
    return [n for n in numbers(text) if not any(n.shows(value, slack) for value, slack in allowed)]


def test_every_number_of_every_sentence_is_a_value_of_its_section(
    rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]
) -> None:
    truth, page, _ = rendered
    known, stored = pools(truth, expected), verbatim(truth)
    checked = 0
    for section, text in page.words:
        if text in stored:
            continue
        rest = unexplained(text, known.get(section, []))
        assert not rest, (section, text, [number.text for number in rest])
        checked += len(numbers(text))
    assert checked > 150


def test_markdown_says_what_the_page_says(rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]) -> None:
    truth, page, markdown = rendered
    known, stored = pools(truth, expected), verbatim(truth)
    everything = [value for values in known.values() for value in values]
    rows = [line for line in markdown.splitlines() if re.match(r"\| (LoRA|LoRA-SAM|Bi-LoRA) \|", line)]
    on_page: dict[tuple[str, str, str], list[str]] = {}
    for (table, group, label, _), cell in page.cells.items():
        shown = numbers(cell["text"]) + numbers(cell["small"])
        on_page.setdefault((table, group, label), []).extend(number.text for number in shown)
    assert [[number.text for number in numbers(row)] for row in rows if "failed in" not in row] == list(
        on_page.values()
    )
    for line in markdown.splitlines():
        text = re.sub(r"\]\(figures/\S+\)", "", line)
        if line.startswith("| ") or any(sentence in text.replace("\\", "") for sentence in stored):
            continue
        assert not unexplained(text, everything), line


def test_a_number_from_nowhere_is_found(rendered: tuple[Truth, Printed, str], expected: dict[Key, Values]) -> None:
    truth = rendered[0]
    known = pools(truth, expected)["pocket-math"]
    score = 100 * truth.column("pocket-math", "bilora", "score").mean()
    assert not unexplained(f"Bi-LoRA scores {score:.1f} %, 95 % interval", known)
    assert [n.text for n in unexplained(f"Bi-LoRA scores {score + 0.3:.1f} %, 95 % interval", known)] == [
        f"{score + 0.3:.1f}"
    ]
    assert [n.text for n in numbers("−1,234.5 to 2×10⁻⁴ in s0 and A6")] == ["−1,234.5", "2×10⁻⁴"]
    assert numbers("2×10⁻⁴")[0].shows(0.000249)
    assert not numbers("2×10⁻⁴")[0].shows(0.000251)
