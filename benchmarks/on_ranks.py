"""Runs a function in several processes that form a process group: gloo on the CPU, NCCL on GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

RANKS = 2


def on_ranks(work: Callable[..., Any], folder: Path, *arguments: Any, cuda: bool = False) -> list[Any]:
    """Run `work(*arguments)` in `RANKS` processes that form a process group; return what each returned.

    Starting processes takes seconds, so that `work` should do all there is to do.
    """
    spawn(_one_rank, args=(work, str(folder), arguments, cuda), nprocs=RANKS)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"rank-{index}.pt", weights_only=False) for index in range(RANKS)]


def _one_rank(index: int, work: Callable[..., Any], folder: str, arguments: Sequence[Any], cuda: bool) -> None:
    torch.set_num_threads(1)
    size = str(RANKS)
    os.environ.update(RANK=str(index), LOCAL_RANK=str(index), WORLD_SIZE=size, LOCAL_WORLD_SIZE=size)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    if cuda:
        torch.cuda.set_device(index)
    else:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    backend = "nccl" if cuda else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{folder}/meet", rank=index, world_size=RANKS)
    try:
        torch.save(work(*arguments), f"{folder}/rank-{index}.pt")
    finally:
        distributed.destroy_process_group()
