"""What runs on the nodes of a Ray cluster. Nothing here needs Ray: an actor is an ordinary object there."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.executors.job import Job, do


def unseen(token: Path, content: str, folders: Sequence[Path]) -> list[str]:
    """Return which folders this machine does not see as the driver does.

    Args:
        token: A file that the driver has written into the output folder.
        content: What stands in it.
        folders: What else must be here.
    """
    try:
        shared = token.read_text() == content
    except OSError:
        shared = False
    missing = [folder for folder in folders if not folder.exists()]
    return [str(folder) for folder in (missing if shared else [token.parent, *missing])]


class RunActor:
    """Carries out runs in a process that is kept; libraries are loaded once.

    Args:
        threads: CPU threads.
        folder: Working folder of the driver, which relative paths of data are meant from.
    """

    def __init__(self, threads: int, folder: str) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        import torch

        # All that a run needs is loaded before the first one is asked for.
        import benchmarks.execution  # noqa: F401

        torch.set_num_threads(threads)

    def ready(self, token: str, content: str, folders: Sequence[str]) -> tuple[str, list[str]]:
        """Return the name of this machine, and which folders it does not see."""
        return platform.node(), unseen(Path(token), content, [Path(folder) for folder in folders])

    def carry_out(self, record: dict[str, Any]) -> dict[str, Any]:
        """Carry out a job; both as records."""
        return do(Job.of(record)).as_dict()
