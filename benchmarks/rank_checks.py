"""What a comparison under `torchrun` refuses before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import ranks
from benchmarks.errors import UsageError
from benchmarks.models import medium_of
from benchmarks.spec import RunSpec


def check_ranks(specs: Sequence[RunSpec], folders: Mapping[str, Path]) -> None:
    """Refuse runs that several ranks cannot share.

    Args:
        specs: The runs.
        folders: Folder of every base model, by name.

    Raises:
        UsageError: Naming the flag to change.
    """
    count = ranks.world_size()
    for spec in specs if count > 1 else ():
        passes = spec.batch_size // spec.micro_batch_size
        if passes % count:
            raise UsageError(
                f"--micro-batch-size: a step of {spec.task} has {passes} micro-batches of {spec.micro_batch_size}, "
                f"which {count} ranks cannot share equally; choose one that divides {spec.batch_size} / {count}"
            )
        if spec.device_map is not None:
            raise UsageError(
                "--device-map: a model spread over all GPUs leaves none for other ranks; leave one of them out"
            )
        if medium_of(folders[spec.model]) != "text":
            raise UsageError(
                f"--tasks: {spec.task} draws its noise batch by batch, another way on every rank; run it on one GPU"
            )
