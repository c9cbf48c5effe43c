"""What a preset is: settings of one comparison or of several, why they are what they are, and what the paper got.

Several comparisons (`parts`) are needed where one method is compared with itself: each has a folder and a report of
its own. Inside a comparison `cases` change settings for some tasks or methods: epochs, seeds, a learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from benchmarks.errors import UsageError, nearest
from benchmarks.presets.reading import joined
from benchmarks.presets.training_data import TRAINING_DATA
from benchmarks.settings import CompareSettings, read_setting
from benchmarks.tasks import TASKS

#: What stands beside a published number: which measurement it is.
MEASURED = ("score", "step-time", "peak-memory", "lm-eval", "judge", "clip", "robustness")
#: Settings that differ from task to task or method to method inside one comparison.
CASE_SETTINGS = ("epochs", "steps", "seeds", "learning_rate", "batch_size", "micro_batch_size")


@dataclass(frozen=True, kw_only=True)
class PublishedRows:
    """Rows of reports/published.csv, and the runs whose measurement stands beside them.

    Attributes:
        table: Number of the table.
        model: As the file names it.
        task: As the file names it.
        metric: Where the file has several of a task, or None.
        run: Task of the runs.
        measured: One of `MEASURED`.
    """

    table: str
    model: str
    task: str
    run: str
    measured: str
    metric: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """Settings of some tasks or methods; empty names stand for all of them."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    values: Mapping[str, Any]
    epochs: float | None = None

    def holds(self, task: str, method: str) -> bool:
        """Whether it is about this task and method."""
        return (not self.tasks or task in self.tasks) and (not self.methods or method in self.methods)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One comparison of a preset.

    Attributes:
        name: Its folder inside the output folder; empty where it is the only one.
        values: Settings that the preset gives.
        cases: Settings of some tasks and methods.
        names: Label of a method -> its name in the published rows, where they differ.
    """

    name: str
    values: Mapping[str, Any]
    cases: tuple[Case, ...]
    names: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An experiment of the paper."""

    name: str
    description: str
    source: tuple[str, ...]
    also: tuple[str, ...]
    parts: tuple[Part, ...]
    published: tuple[PublishedRows, ...]
    our_choice: Mapping[str, str]


def make_preset(name: str, content: Mapping[str, Any]) -> Preset:
    """Return the preset that a file's content means.

    Raises:
        UsageError: At the first key or value that cannot be used.
    """
    where = f" in preset {name}"
    settings = content.get("settings", {})
    cases = tuple(_case(entry, where) for entry in content.get("cases", []))
    parts = [
        _part(part, joined(settings, entry.get("settings", {})), cases, entry.get("names", {}), where)
        for part, entry in content.get("parts", {"": {}}).items()
    ]
    our_choice = {str(key): str(reason) for key, reason in content.get("our_choice", {}).items()}
    return Preset(
        name=name,
        description=str(content.get("description", "")),
        source=tuple(content.get("source", ())),
        also=tuple(content.get("also", ())),
        parts=tuple(parts),
        published=tuple(_rows(entry, where) for entry in content.get("published", [])),
        our_choice=our_choice,
    )


def _part(
    name: str, settings: Mapping[str, Any], cases: tuple[Case, ...], names: Mapping[str, str], where: str
) -> Part:
    known = [entry.name for entry in fields(CompareSettings)]
    values: dict[str, Any] = {}
    epochs: float | None = None
    for key, raw in settings.items():
        if key == "epochs":
            epochs = _epochs(raw, where)
        elif key in known:
            values[key] = read_setting(key, raw, origin=where)
        else:
            allowed = [*known, "epochs"]
            raise UsageError(f"--preset: unknown setting {key!r}{where}{nearest(str(key), allowed)}")
    if epochs is not None:
        cases = (Case(tasks=(), methods=(), values={}, epochs=epochs), *cases)
    return Part(name=name, values=values, cases=cases, names=dict(names))


def _case(entry: Mapping[str, Any], where: str) -> Case:
    values = {key: value for key, value in entry.items() if key not in ("tasks", "methods")}
    for key in values:
        if key not in CASE_SETTINGS:
            raise UsageError(
                f"--preset: a case{where} sets {key!r}{nearest(str(key), CASE_SETTINGS)}; cases set "
                f"{', '.join(CASE_SETTINGS)}"
            )
    epochs = values.pop("epochs", None)
    return Case(
        tasks=tuple(entry.get("tasks", ())),
        methods=tuple(entry.get("methods", ())),
        values={key: read_setting(key, raw, origin=where) for key, raw in values.items()},
        epochs=None if epochs is None else _epochs(epochs, where),
    )


def _epochs(raw: Any, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not raw > 0:
        raise UsageError(f"--preset: epochs {raw!r}{where}; expected a number above 0")
    return float(raw)


def _rows(entry: Mapping[str, Any], where: str) -> PublishedRows:
    try:
        rows = PublishedRows(**entry)
    except TypeError:
        raise UsageError(
            f"--preset: published rows {dict(entry)!r}{where}; expected table, model, task, run, measured, metric"
        ) from None
    if rows.measured not in MEASURED:
        raise UsageError(f"--preset: {rows.measured!r} is measured{where}; expected one of {', '.join(MEASURED)}")
    known = [*TRAINING_DATA, *TASKS]
    if rows.run not in known:
        raise UsageError(f"--preset: unknown task {rows.run!r}{where}{nearest(rows.run, known)}")
    return rows


def preset_record(preset: Preset, part: Part) -> dict[str, Any]:
    """Return what a report needs to know of a preset, JSON-ready: its name, and where to find its published numbers."""
    return {
        "name": preset.name,
        "part": part.name,
        "description": preset.description,
        "source": list(preset.source),
        "published": [asdict(rows) for rows in preset.published],
        "names": dict(part.names),
        "our_choice": dict(preset.our_choice),
        "sentence": _sentence(preset, part),
    }


def _sentence(preset: Preset, part: Part) -> str:
    """Say where settings come from and which tasks and methods have their own."""
    own = [
        f"{', '.join([*case.tasks, *case.methods])}: " + ", ".join(f"{key} {value}" for key, value in given.items())
        for case in part.cases
        if (given := dict(case.values) | ({} if case.epochs is None else {"epochs": case.epochs}))
        and (case.tasks or case.methods)
    ]
    differing = f" Different from the rest: {'; '.join(own)}." if own else ""
    choices = "; ".join(f"{name}: {reason}" for name, reason in preset.our_choice.items())
    return (
        f"Settings of {', '.join(preset.source)} (arXiv 2508.19564), where no flag overrode them.{differing} What the "
        f"paper leaves open: {choices}."
    )
