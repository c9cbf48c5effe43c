"""Says where the runs of a store were not made alike: other versions, other machines, smaller micro-batches than asked.

Such runs are shown together all the same, since a change of a library rarely moves a score; but a reader must know,
and costs of different machines do not compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reports.fields import text
from reports.runs import Run

#: Fields of a run's environment that a comparison should share -> as they are called in a sentence.
_ENVIRONMENT = {
    "bilora": "bilora",
    "torch": "torch",
    "transformers": "transformers",
    "peft": "peft",
    "numpy": "numpy",
    "device": "device",
}


def differences(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return one sentence for each thing in which the runs were not made alike; none where they all were."""
    found = []
    for name, words in _ENVIRONMENT.items():
        counts = Counter(text(run.environment, name) or "not recorded" for run in runs)
        if len(counts) > 1:
            found.append(f"runs of different {words}: {_listed(counts)}")
    for task in dict.fromkeys(run.task for run in runs):
        counts = Counter(text(run.spec, "task_version") or "not recorded" for run in runs if run.task == task)
        if len(counts) > 1:
            found.append(f"runs of different versions of {task}: {_listed(counts)}")
    for run in runs:
        if run.reduced is not None:
            asked, used = run.reduced
            found.append(
                f"{run.method} on {run.task}, seed {run.seed}, ran out of memory with micro-batches of {asked} and was "
                f"trained with {used}, accumulated to the same batch: the same update up to rounding, another time and "
                "memory"
            )
    return tuple(found)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count} {'run' if count == 1 else 'runs'})" for name, count in sorted(counts.items()))
