"""One method under several settings, in the layout of the paper's Tables 5 and 6: radius, rank, clip, rates.

A group of rows for each task and method that was trained under more than one setting: the main one first, then each
other by what it changes, with its score, its paired difference to the main setting, its cost in plain gradients and
what it kept in memory. Settings are read from the runs (`reports.settings`); nothing is named twice.
"""

from __future__ import annotations

from reports.fields import number
from reports.layout import Cell, Column, Group, Line, Table, Writer, estimate_cell, hole
from reports.metric import Metric
from reports.paired import paired_cell
from reports.quantities import ratio, significant
from reports.runs import Run
from reports.settings import Setting, by_setting, setting_of, varied
from reports.statistics import estimate
from reports.store import Store
from reports.style import method_label

_COLUMNS = (
    Column(title="Score", unit="", definition="Mean score on test examples over seeds, with its standard error."),
    Column(
        title="Difference to main",
        unit="points",
        definition="Paired difference to the main setting over shared seeds and test examples, both random, with its "
        "95 % interval.",
    ),
    Column(title="Test loss", unit="", definition="Mean loss on the test set, in the unit of the task."),
    Column(title="Cost", unit="gradients", definition="Time of one optimizer step in plain gradients timed beside it."),
    Column(title="Peak memory", unit="GiB", definition="Largest memory use of training above what was held before."),
)


def ablation_table(store: Store) -> Table | None:
    """Lay out methods that were trained under several settings; None where none was."""
    groups = []
    for task in store.tasks:
        for method in store.methods:
            main = store.runs_of(task, method)
            others = tuple(run for run in store.others if run.task == task and run.method == method)
            if main and others:
                groups.append(_group(task, method, main, others, store.metric_of(task)))
    if not groups:
        return None
    return Table(
        name="options",
        caption="Methods under several settings; the main setting is the one that the other tables show.",
        columns=_COLUMNS,
        groups=tuple(groups),
        head="Setting",
        notes=("Differences are not corrected for the number of settings.",),
    )


def _group(task: str, method: str, main: tuple[Run, ...], others: tuple[Run, ...], metric: Metric) -> Group:
    first = setting_of(main[0])
    settings = by_setting(others)
    words = varied(settings, first)
    lines = [_line(method, _main_words(first), main, None, metric)]
    ordered = sorted(settings.items(), key=lambda entry: _order(words[entry[0]]))
    lines += [_line(method, words[setting], runs, main, metric) for setting, runs in ordered]
    return Group(title=f"{task}, {method_label(method)}: {metric.name}, {metric.unit}", lines=tuple(lines))


def _main_words(setting: Setting) -> str:
    options = [f"{name.removeprefix('options.')} = {value}" for name, value in setting if name == "options.rho"]
    return f"main setting ({', '.join(options)})" if options else "main setting"


def _order(words: str) -> tuple[str, float, str]:
    """Order settings by the option that they change, then by its value as a number."""
    name, _, value = words.partition(" = ")
    try:
        return name, float(value), words
    except ValueError:
        return name, float("inf"), words


def _line(method: str, label: str, runs: tuple[Run, ...], main: tuple[Run, ...] | None, metric: Metric) -> Line:
    def cell(field: str, write: Writer, scale: float = 1.0, *, score: bool = False) -> Cell:
        values = [number(run.row, field) for run in runs]
        missing = [run for run, value in zip(runs, values, strict=True) if value is None]
        if missing:
            return hole(missing[0].why_missing(field))
        return estimate_cell(estimate([scale * value for value in values if value is not None]), write, score=score)

    difference = Cell(text="main") if main is None else paired_cell(runs, main, metric)
    return Line(
        method=method,
        label=label,
        cells=(
            cell("score", metric.mark, score=True),
            difference,
            cell("eval_loss", significant),
            cell("step_gradients", ratio),
            cell("peak_memory_bytes", lambda size: f"{size:.2f}", 2.0**-30),
        ),
    )
