"""The records of the curvature benchmarks, and the file that holds them.

The file is rewritten after every record, and a case that runs out of memory leaves a record that says so: a long run
on a rented accelerator must not lose what it has measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from analysis import AnalysisError
from benchmarks.environment import PeakMemory, environment, synchronize
from benchmarks.errors import first_line
from benchmarks.written import write_json


@dataclass(frozen=True, kw_only=True)
class CurvatureRecord:
    """One measured quantity of one case.

    Attributes:
        case: Model, tokens and anything else that sets it apart.
        device: Name of the accelerator, or "cpu".
        quantity: `gradient`, `product`, `gauss-newton`, `largest`, `smallest`, ...
        route: How products were taken; None for a gradient.
        seconds: Wall time: of one gradient or product the median, of an eigenvalue the whole run.
        products: Operator products in that time.
        relative_error: Of a value or product against a reference, of an eigenvalue its relative residual.
        peak_gb: Peak memory in 10^9 bytes: everything allocated on an accelerator, the process's growth on the CPU.
        gradient_seconds: One gradient of the same loss on the same data.
        value: The eigenvalue.
        converged: Whether the eigenvalue reached its tolerance.
        parameters: Directions of the space.
        tokens: Counted tokens of the data.
        micro_batch: Rows x tokens of one forward pass.
        note: What else a reader has to know.
        error: Why nothing was measured.
        peer: Another library with its version, on the same case in the same run.
        peer_seconds: Its wall time.
        peer_products: The products it took.
        peer_relative_error: Its error against the same reference.
        peer_peak_gb: Its peak memory.
    """

    case: str
    device: str
    quantity: str
    route: str | None = None
    seconds: float | None = None
    products: int | None = None
    relative_error: float | None = None
    peak_gb: float | None = None
    gradient_seconds: float | None = None
    value: float | None = None
    converged: bool | None = None
    parameters: int | None = None
    tokens: int | None = None
    micro_batch: str | None = None
    note: str | None = None
    error: str | None = None
    peer: str | None = None
    peer_seconds: float | None = None
    peer_products: int | None = None
    peer_relative_error: float | None = None
    peer_peak_gb: float | None = None

    def within(self, limit_gb: float) -> bool:
        """Return whether it was measured with at most this much memory."""
        return self.error is None and self.peak_gb is not None and self.peak_gb <= limit_gb


class RecordFile:
    """Collects records, writing all of them after each one.

    Args:
        path: JSON file with the environment and the records; None keeps them in memory.
        device: Where the cases run.
    """

    def __init__(self, path: Path | None, device: torch.device) -> None:
        self.path = path
        self.device = device
        self.records: list[CurvatureRecord] = []
        self.name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self._environment = environment(device)

    def add(self, record: CurvatureRecord) -> CurvatureRecord:
        """Add a record, show it and write the file."""
        self.records.append(record)
        shown = {key: value for key, value in asdict(record).items() if value is not None and key != "device"}
        print("  ".join(f"{key}={_short(value)}" for key, value in shown.items()), flush=True)
        if self.path is not None:
            content = {"environment": self._environment, "records": [asdict(r) for r in self.records]}
            write_json(self.path, content)
        return record

    def attempt(
        self, record: CurvatureRecord, measure: Callable[[], dict[str, Any]], *, limit_gb: float | None = None
    ) -> CurvatureRecord:
        """Run one measurement and add its record, with the peak memory, or with the reason why there is none.

        Args:
            record: What is known beforehand.
            measure: Returns the fields to fill in.
            limit_gb: A peak above it is noted.
        """
        peak = Peak(self.device)
        try:
            record = replace(record, **measure())
        except (torch.OutOfMemoryError, AnalysisError) as error:
            record = replace(record, error=first_line(error))
        record = replace(record, peak_gb=peak.gigabytes())
        if limit_gb is not None and record.error is None and not record.within(limit_gb):
            over = f"above the limit of {limit_gb:g} GB"
            record = replace(record, note=f"{record.note}; {over}" if record.note else over)
        return self.add(record)


class Peak:
    """Peak memory from now on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Unused memory is handed back first, so that one case does not count in the next.
        self._above = PeakMemory(device)
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def gigabytes(self) -> float:
        """Return everything allocated on an accelerator at the peak, or the growth of the process on the CPU."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e9
        return self._above.read() / 1e9


def timed(call: Callable[[], object], *, device: torch.device, repeats: int) -> list[float]:
    """Return the wall times of one call and `repeats` more."""
    seconds = []
    for _ in range(repeats + 1):
        synchronize(device)
        started = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return seconds


def median_seconds(call: Callable[[], object], *, device: torch.device, repeats: int) -> float:
    """Return the median wall time of a call, after one call that is not counted."""
    return statistics.median(timed(call, device=device, repeats=repeats)[1:])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
