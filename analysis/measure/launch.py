"""The command under `torchrun`: ranks that measure together, of which the first one writes and speaks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed


@contextmanager
def launched() -> Iterator[bool]:
    """Yield whether this rank is the first; a process group that `join` has formed is dissolved at the end."""
    before = distributed.is_initialized()
    try:
        yield int(os.environ.get("RANK", "0")) == 0
    finally:
        if distributed.is_initialized() and not before:
            distributed.destroy_process_group()


def join(kind: str) -> None:
    """Form the process group, if a launcher has started several ranks, and take this rank's own GPU.

    Args:
        kind: "cuda" or "cpu".
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")


@contextmanager
def folder_of_rank(folder: Path, *, first: bool) -> Iterator[Path]:
    """Yield the output folder on the first rank, and on others a copy of it that is thrown away.

    All ranks have to find the same parts finished.
    """
    if first:
        _wait()
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "out"
        if folder.is_dir():
            shutil.copytree(folder, copy)
        _wait()
        yield copy


def _wait() -> None:
    if distributed.is_initialized():
        distributed.barrier()
