"""Checkpoints in the middle of a run: a killed command goes on from the last one, and ends with the same numbers.

A checkpoint is what `SharpnessTrainer` writes (adapter, method, optimizer, scheduler, random states) together with what
a run records of its training, committed in one step: `state.json` names the folder and the size of every file in it,
and is replaced when all of them are on the disk. What it does not name, or not as it is, was cut off and is not read.
Checkpoints are written where the log is, because the means of a log are then empty; so a resumed run's log is an
uninterrupted one's.

Writing costs time. By default it happens once a minute and, whatever it takes, in less than one per cent of the time
from one checkpoint to the next; and not where four of them would not fit on the disk.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from benchmarks.storage import sync
from benchmarks.written import write_json

STATE = "state.json"
#: Share of the time that writing may take, where an interval of time was asked for.
COST = 0.01
_NAME = re.compile(r"checkpoint-[0-9]+")
_LARGEST_STATE = 64 * 2**20
# A parameter, both moments of AdamW, and as much again for what a method keeps.
_BYTES_PER_PARAMETER = 16
_ROOM = 4


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """When checkpoints are written.

    Attributes:
        steps: Optimizer steps from one to the next, rounded up to a step that is logged; None goes by time.
        seconds: Seconds from one to the next, or more where writing would take over a hundredth of the time.
    """

    steps: int | None = None
    seconds: float | None = 60.0

    @property
    def active(self) -> bool:
        """Whether there are any."""
        return self.steps is not None or self.seconds is not None

    @staticmethod
    def of(setting: str | int | None) -> CheckpointPolicy:
        """Return what `--checkpoint-every` means: a number of steps, of seconds as in "60s", or None for none."""
        if isinstance(setting, str):
            return CheckpointPolicy(seconds=float(setting.removesuffix("s")))
        return CheckpointPolicy(steps=setting, seconds=None)


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        folder: The checkpoint.
        step: Optimizer steps that it holds.
        recorder: What the run had recorded.
        seconds: Time that training had taken.
        steps: Where the run was resumed before, and now.
    """

    folder: Path
    step: int
    recorder: dict[str, Any]
    seconds: float
    steps: tuple[int, ...]


class Checkpoints:
    """The checkpoints of one run, in a folder of its own.

    Args:
        folder: Where they lie; made with the first one.
        policy: When they are written.
        identity: What must be the same for a checkpoint to be taken up, JSON-ready.
    """

    def __init__(self, folder: Path, policy: CheckpointPolicy, *, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.policy = policy
        self._identity = identity

    def latest(self) -> Resumed | None:
        """Return the last checkpoint that is whole and of this run; what else lies there is removed."""
        state = _read_state(self.folder / STATE)
        found = None if state is None else self._resumed(state)
        if found is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        return found

    def _resumed(self, state: dict[str, Any]) -> Resumed | None:
        try:
            name = str(state["checkpoint"])
            folder = self.folder / name
            whole = _NAME.fullmatch(name) is not None and state["files"] == sizes(folder)
            if not whole or state["identity"] != json.loads(json.dumps(self._identity)):
                return None
            step = int(state["step"])
            return Resumed(
                folder=folder,
                step=step,
                recorder=dict(state["recorder"]),
                seconds=float(state["seconds"]),
                steps=(*map(int, state["resumed"]), step),
            )
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def commit(self, step: int, *, recorder: dict[str, Any], seconds: float, resumed: tuple[int, ...]) -> None:
        """Make the checkpoint of a step, which the Trainer has written, the one that a run goes on from."""
        name = f"checkpoint-{step}"
        sync(self.folder / name)
        write_json(
            self.folder / STATE,
            {
                "checkpoint": name,
                "files": sizes(self.folder / name),
                "identity": self._identity,
                "step": step,
                "recorder": recorder,
                "seconds": seconds,
                "resumed": list(resumed),
            },
        )
        for other in self.folder.glob("checkpoint-*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of them."""
        remove_checkpoints(self.folder)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run, and the folder of all runs' if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it is not empty, or was never made
        folder.parent.rmdir()


def stored_identity(folder: Path) -> dict[str, Any]:
    """Return whose checkpoint lies in a folder, as `Checkpoints` was told; empty where there is none."""
    found = (_read_state(folder / STATE) or {}).get("identity")
    return found if isinstance(found, dict) else {}


def sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file in a folder, by its name inside it."""
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _LARGEST_STATE:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class CheckpointCallback(TrainerCallback):
    """Lets a Trainer write checkpoints when they are due, and commits them.

    Args:
        checkpoints: Where they go.
        record: Returns what the run has recorded so far, JSON-ready.
        parameters: Trained parameters, for an estimate of what a checkpoint takes.
        resumed: Where training goes on from, if it does.
        clock: Seconds that never go back, whatever the time of day does.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        record: Callable[[], dict[str, Any]],
        *,
        parameters: int,
        resumed: Resumed | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpoints = checkpoints
        self._record = record
        self._bytes = parameters * _BYTES_PER_PARAMETER
        self._earlier = 0.0 if resumed is None else resumed.seconds
        self._resumed = () if resumed is None else resumed.steps
        self._last_step = 0 if resumed is None else resumed.step
        self._clock = clock
        self._started = self._last = clock()
        #: Seconds that the last one took.
        self.cost = 0.0
        self._began = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint where one is due."""
        logged = state.global_step % args.logging_steps == 0 or state.global_step == state.max_steps
        if logged and self._is_due(state.global_step) and self._has_room():
            self._began = self._clock()
            control.should_save = True

    def _is_due(self, step: int) -> bool:
        policy = self._checkpoints.policy
        if policy.steps is not None:
            return step - self._last_step >= policy.steps
        if policy.seconds is None:
            return False
        return self._clock() - self._last >= max(policy.seconds, self.cost / COST)

    def _has_room(self) -> bool:
        folder = self._checkpoints.folder
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return shutil.disk_usage(existing).free > _ROOM * self._bytes

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Commit what the Trainer has written."""
        step = int(state.global_step)
        self._checkpoints.commit(
            step,
            recorder=self._record(),
            seconds=self._earlier + self._clock() - self._started,
            resumed=self._resumed,
        )
        self._last, self._last_step = self._clock(), step
        self.cost = self._last - self._began
