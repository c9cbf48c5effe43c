"""What the page says about all tasks together, about one task, and about one run, gathered before any of it is written.

A section holds the rows, the printed tables, the sentences and the drawings of a task; page, Markdown and CSV are
three views of it. A run's details show its first right answers (those with full marks) and its first others in test
order, so the choice cannot flatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.ablation import ablation_table
from reports.against import build_changes
from reports.against_table import against_table
from reports.aggregates import build_aggregates
from reports.aggregates_table import aggregates_table
from reports.capture import capture_table
from reports.comparison import ComparisonRow, build_comparison
from reports.cost_table import cost_table
from reports.fields import Record, number
from reports.figures import Drawing, draw_summary, draw_task
from reports.layout import Table
from reports.metric import Metric, read_metric
from reports.overview import overview_methods, overview_table
from reports.published import Pair, build_published
from reports.published_table import published_table
from reports.quantities import significant
from reports.runs import Example, Run
from reports.sharpness import SharpnessRow, build_sharpness
from reports.store import Store
from reports.style import method_label
from reports.summary import Verdict, cost_sentence, scope, sharpness_sentences, verdicts
from reports.tables import comparison_table, sharpness_table
from reports.tuning import tuning_table
from reports.variants import variants_table

#: Right and wrong answers shown for each run.
EXAMPLES_SHOWN = 2


@dataclass(frozen=True, kw_only=True)
class Section:
    """One task of the comparison."""

    task: str
    rows: tuple[ComparisonRow, ...]
    sharpness: tuple[SharpnessRow, ...]
    verdicts: tuple[Verdict, ...]
    scope: str
    notes: tuple[str, ...]
    comparison_table: Table
    #: None where no run of the task was measured.
    sharpness_table: Table | None
    drawings: tuple[Drawing, ...]
    #: None where nothing was tuned.
    tuning_table: Table | None
    published: tuple[Pair, ...]
    #: None where the comparison was not made from a preset that has published numbers for the task.
    published_table: Table | None

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that the section has, in the order of the page."""
        tables = (self.comparison_table, self.sharpness_table, self.published_table, self.tuning_table)
        return tuple(table for table in tables if table is not None)

    @property
    def reach(self) -> float:
        """Half the width of the axis on which all differences of the section fit (a fraction of one)."""
        bounds = [abs(bound) for v in self.verdicts for bound in (v.low, v.high) if bound is not None]
        return 1.12 * max(bounds, default=0.0) or 0.01


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What stands before the tasks: tables and figures over all of them."""

    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    #: What changed from another store, in words; empty where there is none.
    changes: str = ""


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """One run as it can be unfolded on the page."""

    run: Run
    label: str
    metric: Metric
    right: tuple[Example, ...]
    wrong: tuple[Example, ...]
    settings: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, str], ...]
    #: On the metric's scale; empty where there is none.
    score: str


def build_section(store: Store, task: str) -> Section:
    """Gather everything that the report says about one task."""
    rows = build_comparison(store, task)
    sharpness = build_sharpness(store, task)
    published = build_published(store, task)
    notes = (cost_sentence(rows, store.baseline), *sharpness_sentences(sharpness))
    return Section(
        task=task,
        rows=rows,
        sharpness=sharpness,
        verdicts=verdicts(rows, store.baseline),
        scope=scope(rows),
        notes=tuple(note for note in notes if note),
        comparison_table=comparison_table(rows, store.baseline),
        sharpness_table=sharpness_table(sharpness) if sharpness else None,
        drawings=draw_task(store, task, rows, sharpness),
        tuning_table=tuning_table(store, task),
        published=published,
        published_table=published_table(published, task=task, preset=store.preset_name),
    )


def build_summary(store: Store, sections: Sequence[Section], against: Store | None = None) -> Summary:
    """Gather the tables and figures over all tasks; those that have nothing to show are left out.

    Args:
        store: The runs.
        sections: Its tasks.
        against: Another store whose runs are compared with these.
    """
    rows = {section.task: section.rows for section in sections}
    aggregated = build_aggregates(store, overview_methods(store))
    changes = None if against is None else against_table(build_changes(store, against), against.folder.name)
    tables = (
        changes,
        overview_table(store, rows),
        aggregates_table(store, aggregated),
        variants_table(store, rows),
        ablation_table(store),
        cost_table(store, rows),
        capture_table(store),
    )
    return Summary(
        tables=tuple(table for table in tables if table is not None),
        drawings=draw_summary(store, rows, aggregated),
        changes=changes.notes[0] if changes else "",
    )


def run_detail(run: Run) -> RunDetail:
    """Gather what is shown of one run."""
    right = tuple(example for example in run.examples if example.score == 1.0)
    wrong = tuple(example for example in run.examples if example.score < 1.0)
    stages = ((stage, number(run.seconds, stage)) for stage in run.seconds)
    metric, score = read_metric(run.row), number(run.row, "score")
    return RunDetail(
        run=run,
        label=method_label(run.method),
        metric=metric,
        score="" if score is None else f"{metric.name} {metric.full_mark(score)}",
        right=right[:EXAMPLES_SHOWN],
        wrong=wrong[:EXAMPLES_SHOWN],
        settings=_flat(run.spec),
        seconds=tuple((stage, f"{significant(value)} s") for stage, value in stages if value is not None),
    )


def _flat(record: Record, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Return a nested specification as (dotted name, value as text)."""
    pairs: list[tuple[str, str]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            pairs.extend(_flat(value, f"{prefix}{name}."))
        elif isinstance(value, list):
            pairs.append((prefix + name, ", ".join(str(entry) for entry in value)))
        elif value is not None:
            pairs.append((prefix + name, str(value)))
    return tuple(pairs)
