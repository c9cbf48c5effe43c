"""What a command line asks for: one comparison, or the comparisons of a preset, each as settings with its exceptions.

A preset stands below the file of `--config`, which stands below flags. What a flag gives holds for all tasks and
methods, whatever a preset's cases say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.choices import MethodChoice, check_baseline, choice_label, read_choices
from benchmarks.command_line import Given, read_given
from benchmarks.errors import UsageError, nearest
from benchmarks.plan import plan_runs
from benchmarks.presets import TRAINING_DATA, Part, Preset, TrainingData, find_preset
from benchmarks.presets.preset import Case
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.tasks import DATA_TASKS
from bilora.variants import VariantError, resolve_name


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison: settings, exceptions for some tasks and methods, and the part of a preset that it is.

    Attributes:
        settings: For all of its runs.
        cases: What differs for some of them.
        part: The part of the preset, or None without one.
    """

    settings: CompareSettings
    cases: tuple[Case, ...] = ()
    part: Part | None = None

    def settings_of(self, task: str, method: str) -> CompareSettings:
        """Return the settings of one method on one task, for a comparison of these two names alone."""
        values: dict[str, Any] = {}
        epochs: float | None = None
        for case in self.cases:
            if case.holds(task, method):
                values |= case.values
                epochs = case.epochs or epochs
        own = replace(self.settings, tasks=(task,), methods=(method,), baseline=method, **values)
        own = replace(own, options=options_of(self.settings.options, (method,), quantize=own.quantize))
        if epochs is not None and own.steps is None:
            if own.batch_size is None:
                raise UsageError("--preset: epochs need a batch size to become steps; give --batch-size")
            own = replace(own, steps=self._data(task).steps(epochs=epochs, batch_size=own.batch_size))
        return own

    def _data(self, task: str) -> TrainingData:
        """Return the published data set, or the user's copy of it, which may be a part."""
        if self.settings.data is None or task not in DATA_TASKS:
            return TRAINING_DATA[task]
        # Counted whole as the published number is, so that a full copy makes the same runs as the hub.
        rows = DATA_TASKS[task](self.settings.data).published_rows()
        return TrainingData(str(self.settings.data), rows)

    def plan(self) -> tuple[list[RunSpec], dict[str, Path]]:
        """Return the runs in the order of `plan_runs`, and the folders of their models; see there for errors."""
        if not self.cases:
            return plan_runs(self.settings)
        self.check_names()
        specs: list[RunSpec] = []
        folders: dict[str, Path] = {}
        for task in self.settings.tasks:
            for method in self.settings.methods:
                own, found = plan_runs(self.settings_of(task, method))
                specs += own
                folders |= found
        # Sorting is stable: tasks and methods keep their order within a seed.
        return sorted(specs, key=lambda spec: spec.seed), folders

    def check_names(self) -> list[MethodChoice]:
        """Return what the methods' names mean, having refused what `settings_of` would not see together.

        Raises:
            UsageError: At the first name, option or baseline that cannot be used.
        """
        settings = self.settings
        choices = read_choices(settings.methods, quantize=settings.quantize, options=settings.options)
        check_baseline(settings.baseline, settings.methods, choices, quantize=settings.quantize)
        return choices


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that a command line asks for.

    Attributes:
        comparisons: One, or one for each part of a preset.
        preset: The preset, or None.
        given: The command line itself.
    """

    comparisons: tuple[Comparison, ...]
    preset: Preset | None
    given: Given


def read_request(arguments: Sequence[str]) -> Request:
    """Read a command line.

    Raises:
        UsageError: At the first flag, key, value or name that cannot be used.
    """
    given = read_given(arguments)
    if given.preset is None:
        comparison = Comparison(settings=_with_baseline(CompareSettings(**given.values), given.values))
        return Request(comparisons=(comparison,), preset=None, given=given)
    preset = find_preset(given.preset)
    comparisons = tuple(_comparison(preset, part, given.values) for part in preset.parts)
    return Request(comparisons=comparisons, preset=preset, given=given)


def _with_baseline(settings: CompareSettings, given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings with the first method as baseline, if methods were chosen without the usual one."""
    if "methods" in given and "baseline" not in given and settings.baseline not in settings.methods:
        return replace(settings, baseline=settings.methods[0])
    return settings


def _comparison(preset: Preset, part: Part, given: Mapping[str, Any]) -> Comparison:
    values = {**part.values, **given}
    out = Path(given.get("out", preset.name))
    values["out"] = out / part.name if part.name else out
    settings = CompareSettings(**values)
    below = options_of(part.values.get("options", {}), settings.methods, quantize=settings.quantize)
    chosen = given.get("options", {})
    merged = {name: {**below.get(name, {}), **chosen.get(name, {})} for name in (*below, *chosen)}
    settings = replace(settings, options=merged)
    settings = _with_baseline(settings, given)
    unknown = [task for task in settings.tasks if task not in TRAINING_DATA]
    if unknown and any(case.epochs for case in part.cases) and settings.steps is None:
        raise UsageError(
            f"--tasks: the preset counts epochs and does not know how many examples {unknown[0]!r} has"
            f"{nearest(unknown[0], TRAINING_DATA)}; give --steps"
        )
    cases = tuple(_without(case, given) for case in part.cases)
    return Comparison(settings=settings, cases=cases, part=part)


def _without(case: Case, given: Mapping[str, Any]) -> Case:
    """Return a case without what the command line gives for all."""
    values = {key: value for key, value in case.values.items() if key not in given}
    return replace(case, values=values, epochs=None if "steps" in given else case.epochs)


def options_of(
    options: Mapping[str, dict[str, Any]], names: Sequence[str], *, quantize: str | None
) -> dict[str, dict[str, Any]]:
    """Return the options that are about these methods, given by name, by label, or by the plain method's name."""
    about: set[str] = set()
    for name in names:
        try:
            found = resolve_name(name)
        except VariantError as error:
            raise UsageError(f"--methods: {error}") from None
        about |= {name, found.method, choice_label(found.method, found.variant, found.quantize or quantize)}
    return {name: dict(values) for name, values in options.items() if name in about}
