"""The table of adapter variants, in the layout of the paper's Table 4: each alone and with a sharpness-aware method.

Rows are variants (plain LoRA, DoRA, PiSSA, ...), columns what they were trained with; the last columns are paired
differences to the variant trained alone, with their intervals.
"""

from __future__ import annotations

from reports.comparison import ComparisonRow
from reports.layout import Cell, Column, Group, Line, Table, estimate_cell, hole
from reports.paired import paired_cell
from reports.store import Store
from reports.style import method_label, variant_label

#: Training a variant alone.
_ALONE = "lora"


def variants_table(store: Store, rows: dict[str, tuple[ComparisonRow, ...]]) -> Table | None:
    """Lay out variants by what they were trained with, one group of rows a task; None without a variant."""
    variants = tuple(dict.fromkeys(name.rpartition("+")[0] for name in store.methods if "+" in name))
    if not variants:
        return None
    trained = tuple(dict.fromkeys(name.rpartition("+")[2] for name in store.methods if "+" in name))
    others = tuple(method for method in trained if method != _ALONE)
    tasks = [task for task in store.tasks if any("+" in method for method in store.methods_of(task))]
    columns = [Column(title="Alone", unit="score", definition="Mean score of the variant trained alone.")]
    columns += [
        Column(title=f"With {method_label(m)}", unit="score", definition=f"Mean score with {method_label(m)}.")
        for m in others
    ]
    columns += [
        Column(
            title=f"{method_label(m)} minus alone",
            unit="points",
            definition="Paired difference over shared seeds and test examples with its 95 % interval, both random.",
        )
        for m in others
    ]
    groups = []
    for task in tasks:
        by_method = {row.method: row for row in rows[task]}
        metric = store.metric_of(task)
        lines = tuple(_line(store, task, variant, others, by_method) for variant in ("", *variants))
        groups.append(Group(title=f"{task}: {metric.name}, {metric.unit}", lines=lines))
    return Table(
        name="variants",
        caption="Adapter variants, each alone and with a sharpness-aware method.",
        columns=tuple(columns),
        groups=tuple(groups),
        head="Variant",
    )


def _line(store: Store, task: str, variant: str, others: tuple[str, ...], rows: dict[str, ComparisonRow]) -> Line:
    def name(method: str) -> str:
        return f"{variant}+{method}" if variant else method

    scores = [_score(store, task, name(method), rows) for method in (_ALONE, *others)]
    alone = store.runs_of(task, name(_ALONE))
    differences = []
    for method in others:
        runs = store.runs_of(task, name(method))
        lacking = next((name(m) for m, found in ((method, runs), (_ALONE, alone)) if not found), None)
        why = "" if lacking is None else f"{method_label(lacking)}: {store.why_no_run(task, lacking)}"
        differences.append(hole(why) if why else paired_cell(runs, alone, store.metric_of(task)))
    shown = others[-1] if others else _ALONE
    return Line(method=name(shown), label=variant_label(variant), cells=(*scores, *differences))


def _score(store: Store, task: str, method: str, rows: dict[str, ComparisonRow]) -> Cell:
    row = rows.get(method)
    if row is None or "score" not in row.values:
        return hole(row.reasons["score"] if row else store.why_no_run(task, method))
    return estimate_cell(row.values["score"], row.metric.mark, score=True)
