"""What the board trains: arms (a method with options) on tasks, as run specifications of the ordinary store.

The three methods of the main comparison are observed: sharpness is measured and the adapters are recorded, on every
task and whichever claims are asked for, so that their keys never depend on the question. All other arms are trained and
scored alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.choices import read_choices
from benchmarks.claims.verdict import Missing
from benchmarks.errors import UsageError
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.tasks import create_task
from bilora.methods import METHODS

#: Steps from one recorded state of the adapters to the next.
RECORD_EVERY = 5
#: (device, cuda_graphs) of runs that may be finished elsewhere.
_PLACES = (("cuda", True), ("cuda", False), ("cpu", False))


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        name: As `--methods` takes it.
        options: (name, value) of the method's options that differ from its defaults.
        observed: Whether its sharpness is measured and its adapters are recorded.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    observed: bool = False

    def __str__(self) -> str:
        """Return the name with its options."""
        given = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.options
        )
        return f"{self.name} ({given})" if given else self.name


LORA, LORA_SAM, BILORA = (Arm(name, observed=True) for name in ("lora", "lora-sam", "bilora"))


@dataclass
class Scope:
    """The tasks and seeds of a board, and the settings that all its runs share.

    Attributes:
        settings: Everything but methods, tasks, options and what is observed.
        tasks: Names of the tasks; ablations are made on the first.
        folders: Folder of every base model that was planned with, by name.
        is_finished: Whether the run of a key is finished. An arm whose runs are all finished on another kind of device
            is taken from there, so that a board can be made of runs from several machines.
    """

    settings: CompareSettings
    tasks: tuple[str, ...]
    folders: dict[str, Path] = field(default_factory=dict)
    is_finished: Callable[[str], bool] = lambda key: False
    _planned: dict[tuple[Arm, str], list[RunSpec] | str] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return self.settings.seeds

    @property
    def first(self) -> str:
        """The task of the ablations."""
        return self.tasks[0]

    def learning_rate(self, task: str) -> float:
        """Return the learning rate of a task's runs."""
        return self.settings.learning_rate or create_task(task).recipe.learning_rate

    def usable(self) -> tuple[str, ...]:
        """Return the tasks that this machine can run."""
        return tuple(task for task in self.tasks if self._can_run(task))

    def _can_run(self, task: str) -> bool:
        try:
            self.specs(LORA, task)
        except Missing:
            return False
        return True

    def specs(self, arm: Arm, task: str) -> list[RunSpec]:
        """Return the runs of an arm on a task, one a seed.

        Raises:
            Missing: If this machine cannot run them, with the reason.
        """
        if (arm, task) not in self._planned:
            try:
                found, folders = plan_runs(self._settings(arm, task))
                self.folders |= folders
                self._planned[arm, task] = self._where_finished(found)
            except UsageError as error:
                self._planned[arm, task] = f"cannot be run here: {error}"
        planned = self._planned[arm, task]
        if isinstance(planned, str):
            raise Missing(planned)
        return planned

    def _where_finished(self, specs: list[RunSpec]) -> list[RunSpec]:
        places = [(specs[0].device, specs[0].cuda_graphs), *_PLACES]
        twins = ([replace(spec, device=device, cuda_graphs=graphs) for spec in specs] for device, graphs in places)
        return next((found for found in twins if all(self.is_finished(spec.key) for spec in found)), specs)

    def _settings(self, arm: Arm, task: str) -> CompareSettings:
        options: Mapping[str, dict[str, Any]] = {arm.name: dict(arm.options)} if arm.options else {}
        choice = read_choices((arm.name,), quantize=None, options=options)[0]
        # Recorded passes are tried for plain LoRA on bases of full precision.
        graphs = METHODS[choice.method].replayable and choice.variant == "lora" and choice.quantize is None
        return replace(
            self.settings,
            methods=(arm.name,),
            tasks=(task,),
            baseline=arm.name,
            options=dict(options),
            measure=arm.observed,
            dynamics=RECORD_EVERY if arm.observed else None,
            cuda_graphs=self.settings.cuda_graphs and graphs,
        )
