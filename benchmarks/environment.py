"""What a run was computed on: versions, processor, threads, device, code revision; its peak memory; and its quiet."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

PACKAGES = ("bilora", "torch", "transformers", "peft", "accelerate", "tokenizers", "numpy", "pandas")


def environment(device: torch.device) -> dict[str, Any]:
    """Return an ordered, JSON-ready description of software and hardware."""
    record: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    record |= {name: version(name) for name in PACKAGES}
    record |= {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    record["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    record["revision"] = _revision()
    return record


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """Return the commit of the checkout this package runs from, marked if it has changes; None elsewhere."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def synchronize(device: torch.device) -> None:
    """Wait for a CUDA device, and others that a model is spread over, so that a clock read next has seen their work."""
    if device.type == "cuda":
        for used in devices_in_use(device):
            torch.cuda.synchronize(used)


def devices_in_use(device: torch.device) -> list[torch.device]:
    """Return a CUDA device, and after it every other one that holds memory of this process."""
    others = (torch.device("cuda", index) for index in range(torch.cuda.device_count()))
    own = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    return [own, *(other for other in others if other != own and torch.cuda.memory_reserved(other))]


class PeakMemory:
    """Peak memory since construction.

    On CUDA it is the allocator's, summed over the devices in use, on the CPU the resident memory of the process; in
    both cases above what was held at construction, after freed memory has been handed back: libraries, and what earlier
    runs in the same process left behind, do not count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            used = devices_in_use(device)
            for one in used:
                torch.cuda.reset_peak_memory_stats(one)
            self._start = sum(torch.cuda.memory_allocated(one) for one in used)
            return
        # glibc keeps freed memory for itself until asked; other systems do not have the call.
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        # Linux resets the high-water mark of this process; elsewhere it is the peak since the process began.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._start = _resident_peak()

    def read(self) -> int:
        """Return the peak in bytes."""
        if self._device.type == "cuda":
            return sum(torch.cuda.max_memory_allocated(used) for used in devices_in_use(self._device)) - self._start
        return max(0, _resident_peak() - self._start)


def _resident_peak() -> int:
    """Return the high-water mark of this process's resident memory, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        # Without /proc this is macOS, which counts in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Quiet(warnings.catch_warnings):
    """Keep a command's display free of other libraries' remarks, which no user of it can act on."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", FutureWarning)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
