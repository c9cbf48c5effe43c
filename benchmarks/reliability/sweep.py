"""A small sweep as a process of its own: started, killed, and looked at from outside.

It is `benchmarks.compare` itself, on the shipped base with few steps and examples, without measurement and
with a checkpoint after every step, so that a kill can meet every kind of writing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from benchmarks.reliability.launcher import Launcher, Running

#: What differs from one carrying out of the same runs to the next.
TIMINGS = ("step_seconds", "step_gradients", "peak_memory_bytes")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A comparison of methods over seeds.

    Attributes:
        out: Its output folder.
        data: Its examples, see `write_examples`.
        methods: Names with commas between.
        seeds: How many.
        steps: Optimizer steps of each run.
        model: Name or folder of the base.
    """

    out: Path
    data: Path
    methods: str = "lora,lora-sam,bilora"
    seeds: int = 1
    steps: int = 12
    model: str = "pocket-llama"

    @property
    def arguments(self) -> list[str]:
        """The arguments of `benchmarks.compare`."""
        return [
            *("--out", str(self.out), "--methods", self.methods, "--seeds", str(self.seeds)),
            *("--tasks", f"jsonl:{self.data}", "--steps", str(self.steps), "--model", self.model),
            *("--measure", "false", "--batch-size", "4", "--micro-batch-size", "2"),
            *("--evaluations", "2", "--evaluation-examples", "4", "--test-examples", "4"),
            *("--device", "cpu", "--threads", "1", "--checkpoint-every", "1"),
        ]

    def is_at_work(self, process: Running) -> bool:
        """Whether a process holds the lock of a run; the lock's file may be a killed one's that came before."""
        return any(f"process {process.pid} on " in _text(path) for path in (self.out / "locks").glob("*"))

    def table(self) -> pd.DataFrame:
        """Return the final table without what was timed."""
        return pd.read_csv(self.out / "results.csv").drop(columns=list(TIMINGS))

    def texts(self) -> dict[str, bytes]:
        """Return the answers and the training logs of all runs, byte by byte, without what was timed."""
        names = ("examples.json", "history.json")
        return {
            f"{path.parent.name}/{path.name}": path.read_bytes()
            for name in names
            for path in sorted((self.out / "runs").glob(f"[!.]*/{name}"))
        }

    def finished(self) -> dict[str, int]:
        """Return the runs that read as complete, with the times of their records, having read every file of them.

        Raises:
            ValueError: If a file of a complete run cannot be read whole.
        """
        found = {}
        for record in sorted((self.out / "runs").glob("[!.]*/run.json")):
            for path in record.parent.rglob("*"):
                _read_whole(path)
            found[record.parent.name] = record.stat().st_mtime_ns
        for path in self.out.glob("[!.]*.json"):
            _read_whole(path)
        if (self.out / "results.csv").is_file():
            pd.read_csv(self.out / "results.csv")
        return found


def _read_whole(path: Path) -> None:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a dictionary)
                    file.get_tensor(name)
    except Exception as error:
        raise ValueError(f"{path} belongs to a complete run and cannot be read: {error}") from error


def write_examples(path: Path) -> Path:
    """Write sixty short examples: a task that is scored in a moment, so that kills meet every stage of a run."""
    rows = [{"instruction": f"Say {n} and the next.", "response": f"{n} and {n + 1}."} for n in range(60)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def kill_after(process: Running, sweep: Sweep, *, seconds: float) -> bool:
    """Kill a sweep `seconds` after it has begun to work; returns whether it was still running then."""
    _wait_for_work(process, sweep)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running = process.poll() is None
    if running:
        process.kill()
    process.wait()
    return running


def uninterrupted(launcher: Launcher, sweep: Sweep) -> float:
    """Carry a sweep out to its end; returns the seconds from its first run to the end.

    Raises:
        RuntimeError: If it fails.
    """
    process = launcher.start(sweep.arguments)
    _wait_for_work(process, sweep)
    began = time.monotonic()
    if process.wait() != 0:
        raise RuntimeError(f"the sweep ended with exit code {process.wait()}")
    return time.monotonic() - began


def _wait_for_work(process: Running, sweep: Sweep) -> None:
    while process.poll() is None and not sweep.is_at_work(process):
        time.sleep(0.005)
