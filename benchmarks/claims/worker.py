"""`python -m benchmarks.claims.worker FOLDER`: carries out runs of a store one after the other, as they are handed in.

One JSON line on standard input is a run: its specification and the folder of its model. One line on standard output
answers it. Everything else that is printed goes to standard error. It ends when its input does, so that it never
outlives the command that started it by more than one run; libraries are loaded once for all of its runs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.execution import run_all
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore


def main(folder: str, threads: str) -> int:
    """Answer lines until there are no more."""
    torch.set_num_threads(int(threads))
    answers = os.fdopen(os.dup(1), "w")
    # What a library prints must not be taken for an answer.
    os.dup2(2, 1)
    store, console = RunStore(Path(folder)), Console(stderr=True)
    for line in sys.stdin:
        given = json.loads(line)
        spec = RunSpec(**given["spec"])
        failures = run_all(
            [spec], model_folders={spec.model: Path(given["model_folder"])}, store=store, console=console
        )
        answers.write(json.dumps({"key": spec.key, "failures": failures}) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
