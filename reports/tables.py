"""The two printed tables: methods compared on a task, and their sharpness by parameter space.

Only the choice of columns, units and digits is here; the numbers come from `comparison` and `sharpness`, and the
same cells go to the page and to Markdown.
"""

from __future__ import annotations

from reports.comparison import ComparisonRow
from reports.layout import Cell, Column, Group, Line, Table, Writer, difference_cell, estimate_cell, hole
from reports.quantities import gibibytes, ratio, setting, significant, whole
from reports.sharpness import SharpnessRow
from reports.store import task_slug
from reports.style import method_label, space_label

#: What parts of a score are that are no share of right answers.
PART_DEFINITIONS = {
    "I2T": "CLIP's cosine between a drawn picture and its prompt, times 100, mean over pictures.",
    "T2T": "CLIP's cosine between a prompt and a caption of the picture that was drawn for it, times 100.",
}


def comparison_table(rows: tuple[ComparisonRow, ...], baseline: str) -> Table:
    """Lay out the comparison of methods on one task."""
    reference, metric = method_label(baseline), rows[0].metric
    loss = metric.loss
    parts = tuple(
        Column(
            title=f"{part[:1].upper()}{part[1:]}",
            unit=metric.unit,
            definition=PART_DEFINITIONS.get(
                part, f"Share of test answers that are right in this part of the score alone: {part}."
            ),
        )
        for part in metric.parts
    )
    columns = (
        Column(
            title=metric.title,
            unit=metric.unit,
            definition=f"Mean {metric.name} on test examples over seeds, with its standard error.",
        ),
        Column(
            title=f"Difference to {reference}",
            unit="points",
            definition=f"Paired difference in {metric.name} on test examples, in {metric.points}, with its 95 % "
            "bootstrap interval.",
        ),
        *parts,
        Column(title=f"Train {metric.name}", unit=metric.unit, definition="The same metric on training examples."),
        Column(title="Train loss", unit=loss.unit, definition=f"{loss.mean}, training set."),
        Column(title="Test loss", unit=loss.unit, definition=f"{loss.mean}, test set."),
        Column(title="Gap", unit=loss.unit, definition="Generalisation gap: test loss minus training loss."),
        Column(
            title="Cost",
            unit=f"× {reference}",
            definition=f"Time of one optimizer step relative to {reference} on the same task and seed, each taken in "
            "plain gradients timed beside it.",
        ),
        Column(title="Gradients", unit="count", definition="Gradient evaluations of the whole training run."),
        Column(
            title="Peak memory",
            unit="GiB",
            definition="Largest memory use of training, above what the process held before it.",
        ),
        Column(
            title="‖ΔW‖ perturbed",
            unit="Frobenius",
            definition="Weight-space norm of what the method really perturbed, over all adapted layers.",
        ),
        *(
            Column(title=name, unit="", definition="Mean score of the lm-evaluation-harness on this task, over seeds.")
            for name in rows[0].harness
        ),
    )
    lines = tuple(Line(method=row.method, label=method_label(row.method), cells=_comparison_cells(row)) for row in rows)
    return Table(
        name=f"comparison-{task_slug(rows[0].task)}",
        caption=f"Methods on {rows[0].task}: {metric.name}, generalisation and cost.",
        columns=columns,
        groups=(Group(title="", lines=lines),),
    )


def _comparison_cells(row: ComparisonRow) -> tuple[Cell, ...]:
    def plain(name: str, write: Writer) -> Cell:
        found = row.values.get(name)
        return estimate_cell(found, write) if found else hole(row.reasons[name])

    score = row.values.get("score")
    first = hole(row.reasons["score"]) if score is None else estimate_cell(score, row.metric.mark, one="one seed")
    cost = plain("relative_cost", ratio)
    step = row.values.get("step_seconds")
    if not cost.reason and step:
        cost = Cell(text=cost.text, detail=f"{significant(1000.0 * step.mean)} ms per step", numbers=cost.numbers)
    return (
        first,
        _difference_cell(row),
        *(plain(name, row.metric.mark) for name in row.metric.part_fields),
        plain("train_score", row.metric.mark),
        plain("train_loss", significant),
        plain("eval_loss", significant),
        plain("generalization_gap", significant),
        cost,
        plain("gradient_evaluations", whole),
        plain("peak_memory_bytes", gibibytes),
        plain("perturbation_norm", significant),
        *(plain(name, significant) for name in row.harness),
    )


def _difference_cell(row: ComparisonRow) -> Cell:
    if row.is_baseline:
        return Cell(text="baseline")
    if row.difference is None:
        return hole(row.reasons["difference"])
    interval, write = row.difference.interval, row.metric.difference
    return difference_cell(row.difference.difference, interval.low, interval.high, write)


def sharpness_table(rows: tuple[SharpnessRow, ...]) -> Table:
    """Lay out curvature and sharpness on one task, one group of rows for each space."""
    columns = (
        Column(
            title="λ max",
            unit="loss / norm²",
            definition="Largest algebraic Hessian eigenvalue, with its residual.",
        ),
        Column(title="λ min", unit="loss / norm²", definition="Smallest Hessian eigenvalue, with its residual."),
        Column(
            title="Worst case, one step",
            unit="loss",
            definition="Loss increase after one normalised gradient step of length ρ.",
        ),
        Column(
            title="Worst case, ascent",
            unit="loss",
            definition="Largest loss increase found by projected gradient ascent in the ball of radius ρ.",
        ),
        Column(
            title="Average case",
            unit="loss",
            definition="Mean loss increase over random displacements of length ρ, with its standard error.",
        ),
        Column(
            title="Radius ρ",
            unit="‖ΔW‖",
            definition="Length of the displacement of the weights, in the worst case and on average; see conventions.",
        ),
        Column(title="Products", unit="count", definition="Hessian-vector products that the spectrum took."),
    )
    spaces = tuple(dict.fromkeys(row.space for row in rows))
    groups = tuple(_space_group(space, [row for row in rows if row.space == space]) for space in spaces)
    return Table(
        name=f"sharpness-{task_slug(rows[0].task)}",
        caption=f"Curvature and sharpness on {rows[0].task}, by parameter space.",
        columns=columns,
        groups=groups,
    )


def _space_group(space: str, rows: list[SharpnessRow]) -> Group:
    sizes = {row.dimension for row in rows if row.dimension is not None}
    size = f", {whole(sizes.pop())} coordinates" if len(sizes) == 1 else ""
    lines = tuple(Line(method=r.method, label=method_label(r.method), cells=_sharpness_cells(r)) for r in rows)
    return Group(title=space_label(space) + size, lines=lines)


def _sharpness_cells(row: SharpnessRow) -> tuple[Cell, ...]:
    def cell(name: str, write: Writer = significant, error: str = "") -> Cell:
        found = row.values.get(name)
        if found is None:
            return hole(row.reason or f"{name} was not recorded")
        plain = estimate_cell(found, write)
        stated = [plain.detail] if plain.detail else []
        if error and name in row.errors:
            stated.append(f"{error} {significant(row.errors[name], 2)}")
        if name.startswith("lambda") and not row.converged:
            stated.append("not converged")
        return Cell(text=plain.text, detail=", ".join(stated), numbers=plain.numbers)

    def radius() -> Cell:
        if row.radius is None:
            return hole(row.reason or "the runs of this row differ in their radius, or did not record it")
        average = "" if row.average_radius is None else f"average {setting(row.average_radius)}"
        return Cell(text=setting(row.radius), detail=average, numbers=(("value", row.radius),))

    return (
        cell("lambda_max", error="residual"),
        cell("lambda_min", error="residual"),
        cell("worst_case_one_step"),
        cell("worst_case"),
        cell("average_case", error="SE"),
        radius(),
        cell("products", write=whole),
    )
