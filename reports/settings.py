"""Which runs of a store share a setting, and which of several settings of a method is its main one.

Runs that claims, sweeps and ablations leave in one folder differ in options, learning rate or rank; a mean over them
would be a mean of nothing. A setting is everything in a specification that changes what is trained: not the seed, nor
what was measured beside it, nor the machine. The main setting of a method is the one whose options were trained on most
tasks, then the one with most measurements, then with most seeds; the others are rows of the options table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reports.fields import Record, mapping
from reports.runs import Run

#: Fields of a specification that do not change what is trained on a task.
BESIDE = frozenset(
    {
        "cuda_graphs",
        "data",
        "device",
        "device_map",
        "dynamics",
        "evaluation_batch_size",
        "evaluation_examples",
        "evaluations",
        "measurement",
        "method",
        "model_fingerprint",
        "quantize",
        "scored",
        "seed",
        "software",
        "task",
        "task_version",
        "test_examples",
        "variant",
    }
)

#: Fields that came to specifications later, with the defaults that runs from before were trained with.
LATER = {
    "attention": None,
    "chat_template": "auto",
    "dtype": "float32",
    "gradient_checkpointing": False,
    "max_length": None,
    "packing": False,
    "revision": None,
    "target_modules": "all-linear",
    "trust_remote_code": False,
}

Setting = tuple[tuple[str, str], ...]


def setting_of(run: Run) -> Setting:
    """Return what a run was trained with as sorted (dotted name, value as text).

    Empty values are left out, and so are fields that came later where they have their default: a run from before there
    was a choice has the setting of one that took the default.
    """
    own = {name: value for name, value in run.spec.items() if name not in BESIDE}
    return tuple(sorted(_flat({name: value for name, value in own.items() if value != LATER.get(name)})))


def by_setting(runs: Iterable[Run]) -> dict[Setting, tuple[Run, ...]]:
    """Return the runs of each setting, ordered by setting and seed."""
    found: defaultdict[Setting, list[Run]] = defaultdict(list)
    for run in runs:
        found[setting_of(run)].append(run)
    return {setting: tuple(sorted(found[setting], key=lambda run: run.seed)) for setting in sorted(found)}


def main_runs(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs of each task and method under the main setting of the method there."""
    runs = tuple(runs)
    reach: defaultdict[tuple[str, Setting], set[str]] = defaultdict(set)
    groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        reach[run.method, _options(run)].add(run.task)
        groups[run.task, run.method].append(run)

    def rank(group: tuple[Run, ...]) -> tuple[int, int, int]:
        tasks = len(reach[group[0].method, _options(group[0])])
        return tasks, sum(run.measurement is not None for run in group), len({run.seed for run in group})

    # `max` keeps the first of equals, and settings are sorted, so that the choice does not depend on file order.
    return tuple(run for group in groups.values() for run in max(by_setting(group).values(), key=rank))


def varied(settings: Iterable[Setting], main: Setting) -> dict[Setting, str]:
    """Return in words how each setting differs from the main one: `clip = none`; empty for the main one."""
    known = dict(main)
    words = {}
    for setting in settings:
        own = dict(setting)
        names = [name for name in {**known, **own} if known.get(name) != own.get(name)]
        words[setting] = ", ".join(f"{name.removeprefix('options.')} = {own.get(name, 'default')}" for name in names)
    return words


def _options(run: Run) -> Setting:
    return tuple(sorted(_flat(mapping(run.spec, "options"))))


def _flat(record: Record, prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            pairs.append((prefix + name, str(value)))
    return pairs
