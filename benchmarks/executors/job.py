"""What is handed to a worker, and what it answers; both can be written as a line of JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be carried out.

    Attributes:
        spec: The run.
        model_folder: Where its base model lies.
        store: Folder of the run store.
        policy: When checkpoints are written.
    """

    spec: RunSpec
    model_folder: Path
    store: Path
    policy: CheckpointPolicy

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record, with paths that hold in every working folder."""
        return {
            "spec": self.spec.as_dict(),
            "model_folder": str(self.model_folder.absolute()),
            "store": str(self.store.absolute()),
            "policy": asdict(self.policy),
        }

    @staticmethod
    def of(record: dict[str, Any]) -> Job:
        """Return what `as_dict` wrote."""
        return Job(
            spec=RunSpec(**record["spec"]),
            model_folder=Path(record["model_folder"]),
            store=Path(record["store"]),
            policy=CheckpointPolicy(**record["policy"]),
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a job.

    Attributes:
        outcome: "elsewhere" where another command is at work on the run, "storage" where the store cannot be written.
        line: What is to be said of it, or nothing; the holder of the run where it is elsewhere.
        began: When the worker took it up, in seconds since 1970 on the worker's clock.
        ended: When it was done with it; the same moment if there was nothing to do.
    """

    outcome: Literal["finished", "failed", "elsewhere", "storage"]
    line: str = ""
    began: float = 0.0
    ended: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)


def do(job: Job) -> Answer:
    """Carry out a job in this process, saying on standard error what it does.

    Anything that is not known to be the run's own fault is raised.
    """
    # Workers need what trains; whoever hands out jobs does not.
    from rich.console import Console

    from benchmarks.environment import Quiet
    from benchmarks.execution import attempt
    from benchmarks.progress import ComparisonProgress
    from benchmarks.storage import StorageError
    from benchmarks.store import RunStore

    spec, began = job.spec, time.time()
    progress = ComparisonProgress([1.0], Console(stderr=True))
    try:
        with Quiet(), progress.run(0, f"{spec.label} · {spec.task} · seed {spec.seed}") as run_progress:
            found = attempt(
                spec,
                model_folder=job.model_folder,
                store=RunStore(job.store),
                policy=job.policy,
                progress=run_progress,
            )
    except StorageError as error:
        return Answer(outcome="storage", line=str(error), began=began, ended=time.time())
    return Answer(outcome=found.outcome, line=found.line, began=began, ended=time.time() if found.done else began)
