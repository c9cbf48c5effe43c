"""What a comparison prints at its end: a table a task, a line a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from reports.metric import read_metric


def print_summary(specs: Sequence[RunSpec], store: RunStore, console: Console) -> None:
    """Print the runs of a comparison, those that failed as such."""
    # Column of the results -> how it is printed; headings are short enough for a terminal of 80 columns.
    columns = {
        "eval_loss": ("test loss", "{:.4f}"),
        "step_gradients": ("cost", "{:.2f}"),
        "lambda_max_full": ("λmax full", "{:.3g}"),
        "lambda_max_lora": ("λmax lora", "{:.3g}"),
    }
    # A table a task: with a column of their names the numbers would not fit.
    for task in dict.fromkeys(spec.task for spec in specs):
        own = [spec for spec in specs if spec.task == task]
        rows = {spec.key: store.row(spec.key) for spec in own if store.is_complete(spec.key)}
        metrics = {key: read_metric(row) for key, row in rows.items()}
        heading = next((metric.name for metric in metrics.values()), "score")
        # The name of a metric may be wrapped between its words; a score and its unit may not.
        unbroken = [*heading.split(), *(metric.full_mark(1.0) for metric in metrics.values())]
        method = Column("method", min_width=max(len(spec.label) for spec in own), no_wrap=True)
        score = Column(heading, min_width=max(map(len, unbroken)))
        headings: list[Column | str] = ["seed", score, "train", *(shown for shown, _ in columns.values())]
        table = Table(method, *headings, box=None, pad_edge=False, title=task, title_justify="left")
        for spec in own:
            if spec.key in rows:
                row, metric = rows[spec.key], metrics[spec.key]
                values = [metric.full_mark(row["score"]), metric.mark(row["train_score"])]
                values += [
                    form.format(row[name]) if row.get(name) is not None else "-" for name, (_, form) in columns.items()
                ]
                table.add_row(spec.label, str(spec.seed), *values)
            else:
                table.add_row(spec.label, str(spec.seed), "failed", *["-"] * (len(headings) - 2))
        console.print(table)
