"""What steps cost as a table, beside what the Bi-LoRA paper prints for the same model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from benchmarks.model_shapes import SHAPES
from benchmarks.step_record import StepCost

PUBLISHED = Path(__file__).parents[1] / "reports" / "published.csv"


def published_ratios(model: str) -> dict[str, str]:
    """Return what the paper prints for this model: seconds of each method over LoRA's, over its tables and tasks."""
    if model not in SHAPES:
        return {}
    tables = pd.read_csv(PUBLISHED, dtype={"table": str})
    rows = tables[tables["table"].isin(SHAPES[model].published) & (tables["metric"] == "step-time")]
    rows = rows[rows["task"] != "average"].pivot_table(index=["table", "task"], columns="method", values="value")
    found = {}
    for method in rows.columns:
        ratios = (rows[method] / rows["lora"]).dropna()
        low, high = f"{ratios.min():.2f}", f"{ratios.max():.2f}"
        found[str(method)] = low if low == high else f"{low} to {high}"
    return found


def table(costs: Sequence[StepCost], published: dict[str, str], source: str) -> Table:
    """Return the costs as a table, with the paper's beside them."""
    heads = ["shape", "method", "path", "step ms", "quartiles", "peak GB", "tokens/s", "x PEFT LoRA", "x PEFT compiled"]
    heads += ["x our LoRA", "x floor"]
    shown = Table(*heads, *([f"paper, {source}"] if published else ()), box=None)

    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    for c in costs:
        cells = [c.shape, c.method, c.path, number(c.step_ms, 1)]
        cells.append(f"{number(c.step_ms_low, 1)} to {number(c.step_ms_high, 1)}" if c.error is None else c.error[:60])
        cells += [number(c.peak_gb, 1), number(c.tokens_per_second, 0)]
        ratios = (c.ratio_to_stock_lora, c.ratio_to_compiled_lora, c.ratio_to_our_lora, c.ratio_to_floor)
        cells += [number(ratio) for ratio in ratios]
        shown.add_row(*cells, *([published.get(c.method, "-")] if published else ()))
    return shown
