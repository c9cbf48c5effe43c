"""`python -m benchmarks.executors.worker THREADS`: carries out runs one after the other, as they are handed in.

One JSON line on standard input is a job, one line on standard output answers it, and a first line says that libraries
are loaded, once for all of its runs. Everything else that is printed goes to standard error. It ends when its input
does, so that it never outlives the command that started it by more than one run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import torch

# All that a run needs is loaded before the first one is asked for.
import benchmarks.execution  # noqa: F401
from benchmarks.executors.job import Job, do

READY = {"ready": True}


def main(threads: str) -> int:
    """Answer lines until there are no more."""
    torch.set_num_threads(int(threads))
    answers = os.fdopen(os.dup(1), "w")
    # What a library prints must not be taken for an answer.
    os.dup2(2, 1)

    def answer(record: Mapping[str, object]) -> None:
        answers.write(json.dumps(dict(record)) + "\n")
        answers.flush()

    answer(READY)
    for line in sys.stdin:
        answer(do(Job.of(json.loads(line))).as_dict())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
