"""Commands under `torchrun` or `accelerate launch`: all ranks compute, the first one writes and speaks.

A launcher starts one process for every device with its number in the environment; without one there is a single rank.
Every rank reads the same command line and comes to the same decisions; what depends on files is asked of the first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from benchmarks.store import FolderStore

Value = TypeVar("Value")
# One rank may score for hours while the others wait.
_PATIENCE = timedelta(days=7)


def world_size() -> int:
    """Return how many ranks a launcher has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this rank writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str) -> None:
    """Form the process group, if there are several ranks, and take this rank's own GPU."""
    if world_size() == 1 or distributed.is_initialized():
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)


def leave() -> None:
    """Dissolve the process group."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def wait() -> None:
    """Wait until all ranks are here."""
    if distributed.is_initialized():
        distributed.barrier()


def of_first(work: Callable[[], Value]) -> Value:
    """Return on every rank what `work` returns on the first, where alone it is called."""
    if not distributed.is_initialized():
        return work()
    held: list[Any] = [work() if is_first() else None]
    distributed.broadcast_object_list(held, src=0)
    found: Value = held[0]
    return found


@contextmanager
def writing(store: FolderStore, key: str) -> Iterator[Path]:
    """Yield a folder to write into: on the first rank that of the key, see `FolderStore.writing`; else one to lose."""
    if is_first():
        with store.writing(key) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    wait()
