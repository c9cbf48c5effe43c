"""A small sweep as a process of its own: started, killed, and looked at from outside.

It is `python -m benchmarks.compare` itself, on the shipped base with few steps and examples, without measurement and
with a checkpoint after every step, so that a kill can meet every kind of writing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

#: What differs from one carrying out of the same runs to the next.
TIMINGS = ("step_seconds", "step_gradients", "peak_memory_bytes")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A comparison of methods over seeds.

    Attributes:
        out: Its output folder.
        methods: Names with commas between.
        seeds: How many.
        steps: Optimizer steps of each run.
        model: Name or folder of the base.
    """

    out: Path
    methods: str = "lora,lora-sam,bilora"
    seeds: int = 1
    steps: int = 10
    model: str = "pocket-llama"

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [
            *(sys.executable, "-m", "benchmarks.compare", "--out", str(self.out), "--methods", self.methods),
            *("--seeds", str(self.seeds), "--steps", str(self.steps), "--model", self.model, "--measure", "false"),
            *("--batch-size", "4", "--micro-batch-size", "2", "--evaluations", "2", "--evaluation-examples", "4"),
            *("--test-examples", "4", "--device", "cpu", "--threads", "1", "--checkpoint-every", "1"),
        ]

    def start(self) -> subprocess.Popen[str]:
        """Start it; its output is read only once it has ended."""
        return subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def started_working(self) -> bool:
        """Whether a run is being carried out: a process that still loads its libraries is not worth a kill."""
        return any((self.out / "locks").glob("*"))

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


def kill_after(process: subprocess.Popen[str], sweep: Sweep, *, seconds: float) -> bool:
    """Kill a sweep `seconds` after it has begun to work; returns whether it was still running then."""
    while process.poll() is None and not sweep.started_working():
        time.sleep(0.005)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return running


def uninterrupted(sweep: Sweep) -> dict[str, Any]:
    """Carry a sweep out to its end; returns its exit code and the seconds from its first run to the end."""
    process = sweep.start()
    while process.poll() is None and not sweep.started_working():
        time.sleep(0.005)
    began = time.monotonic()
    _, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the sweep ended with exit code {process.returncode}: {errors.strip()[-500:]}")
    return {"seconds": time.monotonic() - began}
