"""Which device runs are carried out on, and what cannot be had there."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.choices import MethodChoice
from benchmarks.errors import UsageError
from benchmarks.settings import CompareSettings
from bilora.methods import METHODS


def check_graphs(settings: CompareSettings, choices: Sequence[MethodChoice]) -> None:
    """Refuse CUDA graphs where not all methods can have them: their times would not be comparable."""
    if not settings.cuda_graphs:
        return
    if device_of(settings) != "cuda":
        raise UsageError("--cuda-graphs: found true, and the runs are on the cpu; they need --device cuda")
    check_replayable(choices)


def check_device_map(settings: CompareSettings) -> None:
    """Refuse to spread a model over GPUs where there are none, or where passes are recorded."""
    if settings.device_map is None:
        return
    if device_of(settings) != "cuda":
        raise UsageError("--device-map: spreads a model over GPUs, and the runs are on the cpu; leave it off")
    if settings.cuda_graphs:
        raise UsageError("--device-map: passes over several GPUs cannot be recorded; leave --cuda-graphs off")


def check_replayable(choices: Sequence[MethodChoice]) -> None:
    """Refuse methods whose passes cannot be replayed as CUDA graphs.

    Raises:
        UsageError: Naming all of them.
    """
    changing = [choice.label for choice in choices if not METHODS[choice.method].replayable]
    if changing:
        raise UsageError(
            f"--cuda-graphs: passes of {', '.join(changing)} change from step to step and cannot be replayed; leave "
            "these methods out, or the flag off"
        )


def device_of(settings: CompareSettings) -> str:
    """Return the type of device of the runs, "cpu" or "cuda".

    Raises:
        UsageError: If CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    # A cluster's GPUs are its workers', not this machine's.
    if settings.device == "cuda" and not available and settings.executor != "ray":
        raise UsageError("--device: cuda was asked for and torch sees no CUDA device; expected auto or cpu here")
    return "cuda" if settings.device == "cuda" or (settings.device == "auto" and available) else "cpu"
