"""What can be unfolded of each run on the page, as data that the page's script draws when a run is opened.

A thousand runs as markup and inline drawings would make the page too heavy to open, so they stand in it as one JSON
object: texts and step lists that runs share are stored once, settings and environment that all runs share once for all.
Numbers of the log keep four significant digits, and of a long log evenly spaced records; the run's folder has the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from reports.fields import Record, number
from reports.quantities import moment, significant
from reports.runs import Example, Run
from reports.sections import RunDetail

#: Records of a curve at most.
POINTS = 60
Pairs = list[list[str]]


def run_data(details: Sequence[RunDetail]) -> str:
    """Return the runs as JSON that may stand inside a `script` element.

    The object has `texts` and `steps` (lists that entries point into), `common` (what all runs share) and `runs` by
    key: pairs of names and values, `curves` as [name, index of steps, values], `answers` as [index, kind, three texts].
    """
    shared = _Shared()
    settings = [list(map(list, detail.settings)) for detail in details]
    environments = [_environment(detail.run) for detail in details]
    common = {"settings": _common(settings), "environment": _common(environments)}
    runs = {}
    for detail, own, machine in zip(details, settings, environments, strict=True):
        curves, constant = _log(detail.run)
        runs[detail.run.key] = {
            "settings": [pair for pair in own if pair not in common["settings"]],
            "environment": [pair for pair in machine if pair not in common["environment"]],
            "results": _results(detail.run.row),
            "time": _times(detail),
            "constant": constant,
            "curves": [[name, shared.steps(steps), values] for name, steps, values in curves],
            "answers": [*_answers(detail, "Right", shared), *_answers(detail, "Wrong", shared)],
            "problems": [str(fault) for fault in detail.run.faults.values()],
        }
    content = {"texts": shared.known_texts, "steps": shared.known_steps, "common": common, "runs": runs}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only these could begin markup; as escapes they are the same JSON.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Shared:
    """Texts and lists of steps in the order in which they are first met, each once."""

    def __init__(self) -> None:
        self.known_texts: list[str] = []
        self.known_steps: list[list[float]] = []
        self._texts: dict[str, int] = {}
        self._steps: dict[tuple[float, ...], int] = {}

    def text(self, text: str) -> int:
        if text not in self._texts:
            self._texts[text] = len(self.known_texts)
            self.known_texts.append(text)
        return self._texts[text]

    def steps(self, steps: tuple[float, ...]) -> int:
        if steps not in self._steps:
            self._steps[steps] = len(self.known_steps)
            self.known_steps.append([_short(step) for step in steps])
        return self._steps[steps]


def _log(run: Run) -> tuple[list[tuple[str, tuple[float, ...], list[float]]], Pairs]:
    """Return the curves of a run's history and dynamics as (name, steps, values), and what never changed as pairs."""
    series = {name: points for name, points in run.log.items() if name not in ("step", "epoch")}
    if run.dynamics is not None:
        cosines = run.dynamics.cosines.items()
        series |= {f"cosine of {pair} {part} to its end": curve for (pair, part), curve in cosines if curve}
        more = {"second-order term": run.dynamics.second_order, "capture": run.dynamics.capture}
        series |= {name: curve for name, curve in more.items() if curve}
    curves, constant = [], []
    for name, points in series.items():
        if len({value for _, value in points}) == 1:
            constant.append([name, significant(points[0][1], 4)])
            continue
        kept = [points[place] for place in _places(len(points))]
        curves.append((name, tuple(step for step, _ in kept), [_short(value) for _, value in kept]))
    return curves, constant


def _places(count: int) -> list[int]:
    """Return at most `POINTS` evenly spaced places of a list, its ends among them."""
    if count <= POINTS:
        return list(range(count))
    return [round(place * (count - 1) / (POINTS - 1)) for place in range(POINTS)]


def _short(value: float) -> float:
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _results(row: Record) -> Pairs:
    """Return every finite number of a run's row; what names the run stands in the heading."""
    values = ((name, number(row, name)) for name in row if name not in ("seed", "method", "task", "key"))
    return [[name, _written(value)] for name, value in values if value is not None]


def _written(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _times(detail: RunDetail) -> Pairs:
    run = detail.run
    stamps = [["started", moment(run.started)], ["finished", moment(run.finished)]]
    return [pair for pair in stamps if pair[1]] + [list(pair) for pair in detail.seconds]


def _environment(run: Run) -> Pairs:
    return [[name, str(value)] for name, value in run.environment.items() if value is not None]


def _common(each: Sequence[Pairs]) -> Pairs:
    """Return the pairs that all runs have, in the order of the first one."""
    if not each:
        return []
    others = [{tuple(pair) for pair in pairs} for pairs in each[1:]]
    return [pair for pair in each[0] if all(tuple(pair) in known for known in others)]


def _answers(detail: RunDetail, title: str, shared: _Shared) -> list[list[Any]]:
    examples: Iterable[Example] = detail.right if title == "Right" else detail.wrong
    return [
        [
            example.index,
            f"Partly right, {detail.metric.full_mark(example.score)}" if 0 < example.score < 1 else title,
            *(shared.text(text) for text in (example.prompt, example.reference, example.generated)),
        ]
        for example in examples
    ]
