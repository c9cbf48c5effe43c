"""Numbers of a page, and the same numbers computed a second time from the JSON files of the runs with pandas and SciPy.

Nothing of `reports` is used here but names: `printed` reads what a page says, `Truth` says what it should say.
"""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

LABELS = {"lora": "LoRA", "lora-sam": "LoRA-SAM", "bilora": "Bi-LoRA"}
SPACES = {"full": "Full space (merged W)", "lora": "LoRA space (A, B), balanced gauge"}
_NUMBER = re.compile(r"[−+-]?\d[\d,]*(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")
_LOW = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_SILENT = ("style", "script", "svg")
_VOID = ("meta", "br", "hr", "img", "link", "input")


class Number:
    """A number as it is printed, with half a unit of its last digit."""

    def __init__(self, text: str) -> None:
        self.text = text
        mantissa, _, exponent = text.replace("−", "-").replace(",", "").partition("×10")
        scale = 10.0 ** int(exponent.translate(_LOW)) if exponent else 1.0
        self.value = float(mantissa) * scale
        self.half = 0.5 * scale * 10.0 ** -len(mantissa.partition(".")[2])

    def shows(self, value: float, slack: float = 0.0) -> bool:
        """Whether a value, rounded to the digits that are printed, is this number; `slack` is for simulated bounds."""
        return abs(self.value - value) <= self.half * (1 + 1e-6) + 1e-9 * abs(value) + slack


def numbers(text: str) -> list[Number]:
    """Return the numbers of a text; digits inside a word are part of a name."""
    return [Number(found[0]) for found in _NUMBER.finditer(re.sub(r"[^\W\d]\S*?\d+\S*", " ", text))]


class Printed(HTMLParser):
    """A page taken apart: tables as (table, group, row, column) -> cell, and every other text with its section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: dict[tuple[str, str, str, str], dict[str, str]] = {}
        self.words: list[tuple[str, str]] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._table = self._group = self._section = ""
        self._heads: list[str] = []
        self._row: list[dict[str, str]] = []
        self._told = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = found.get("data-task") or found.get("id") or self._section
        if tag == "table":
            self._table, self._group, self._heads = found.get("id", ""), "", []
        if tag == "tr":
            self._row = []
        if tag in ("td", "th"):
            self._row.append(
                {"text": "", "small": "", "value": found.get("data-value", ""), "title": found.get("title", "")}
            )
        # What a screen reader or a pointer is told is on the page as well.
        self.words += [
            (self._section, found[name]) for name in ("aria-label", "title") if name in found and tag != "td"
        ]
        if tag not in _VOID:
            self._open.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._table.startswith("table-"):
            self._end_row()
        if tag == "table":
            self._table = ""
        self._open.pop()

    def _end_row(self) -> None:
        if any(tag == "thead" for tag, _ in self._open):
            self._heads = [cell["text"] for cell in self._row]
        elif len(self._row) == 1:
            self._group = self._row[0]["text"]
        else:
            for head, cell in zip(self._heads[1:], self._row[1:], strict=True):
                self.cells[self._table[6:], self._group, self._row[0]["text"], head] = cell

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if not data.strip() or set(tags) & set(_SILENT):
            return
        if self._row and ("td" in tags or "th" in tags) and self._table.startswith("table-"):
            unseen = any("unseen" in found.get("class", "") for _, found in self._open)
            if not unseen:
                self._row[-1]["small" if "small" in tags else "text"] += data.strip()
            if "group" in [found.get("class") for _, found in self._open]:
                self.words.append((self._section, data))
        else:
            self.words.append((self._section, data.strip()))


def wait(row: Any) -> float:
    """Return the standard error over seeds of values, 0 for none to tell."""
    return float(stats.sem(row)) if len(row) > 1 else 0.0


class Truth:
    """What a store's files say, as data frames: one row a run, one row an example."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = sorted((folder / "runs").glob("*/run.json"))
        self.plan = json.loads((folder / "comparison.json").read_text())
        self.runs = pd.DataFrame([json.loads(path.read_text())["row"] for path in paths])
        examples = []
        for path in paths:
            row = json.loads(path.read_text())["row"]
            frame = pd.DataFrame(json.loads((path.parent / "examples.json").read_text()))
            examples.append(frame[["index", "score"]].assign(**{n: row[n] for n in ("task", "method", "seed")}))
        self.examples = pd.concat(examples)
        self.measured = {
            tuple(json.loads(path.read_text())["row"][name] for name in ("task", "method", "seed")): json.loads(
                (path.parent / "measurement.json").read_text()
            )
            for path in paths
        }

    def column(self, task: str, method: str, field: str) -> pd.Series:
        """Return a field of the runs by seed."""
        chosen = self.runs[(self.runs.task == task) & (self.runs.method == method)]
        return chosen.set_index("seed")[field].sort_index()

    def scores(self, task: str, method: str) -> pd.DataFrame:
        """Return the scores (seeds, examples)."""
        chosen = self.examples[(self.examples.task == task) & (self.examples.method == method)]
        return chosen.pivot(index="seed", columns="index", values="score")

    def cost(self, task: str, method: str) -> pd.Series:
        """Return the time of a step relative to plain LoRA's, seed by seed."""
        return (self.column(task, method, "step_seconds") / self.column(task, "lora", "step_seconds")).dropna()

    def pair(self, task: str, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of a method and of plain LoRA at the seeds that both have."""
        own, theirs = self.scores(task, method), self.scores(task, "lora")
        shared = own.index.intersection(theirs.index)
        return own.loc[shared].to_numpy(), theirs.loc[shared].to_numpy()

    def bootstrap(self, difference: np.ndarray, *, draws: int = 20_000) -> tuple[float, float]:
        """Return the percentile interval of a mean over seeds and examples, both resampled, by draws of our own."""
        generator = np.random.default_rng(11)
        seeds, examples = difference.shape
        means = []
        for _ in range(draws // 1000):
            rows = generator.multinomial(seeds, [1 / seeds] * seeds, size=1000) / seeds
            columns = generator.multinomial(examples, [1 / examples] * examples, size=1000) / examples
            means.append(np.einsum("rs,se,re->r", rows, difference, columns))
        low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
        return float(low), float(high)

    @cache  # noqa: B019
    def difference(self, task: str, method: str) -> tuple[float, float, float]:
        """Return the mean difference to plain LoRA in per cent, with its percentile interval."""
        difference = 100 * np.subtract(*self.pair(task, method))
        return float(difference.mean()), *self.bootstrap(difference)

    def space(self, task: str, method: str, space: str) -> list[dict[str, Any]]:
        """Return the measurement of every seed in a space."""
        return [content["spaces"][space] for key, content in sorted(self.measured.items()) if key[:2] == (task, method)]

    def everything(self) -> list[tuple[str, str]]:
        """Return every (task, method) that has a run."""
        pairs = itertools.product(self.plan["tasks"], LABELS)
        return [(task, method) for task, method in pairs if len(self.column(task, method, "score"))]
