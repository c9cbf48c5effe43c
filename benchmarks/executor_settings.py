"""The settings of a comparison that say who carries out its runs; no part of what a run is, or of its key."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import parsing
from benchmarks.parsing import setting

EXECUTORS = ("inline", "local", "ray")


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """One process, several on this machine, or a Ray cluster."""

    executor: str = setting(
        "inline",
        parsing.choice(*EXECUTORS),
        "who carries out the runs: inline, this process, one after the other; local, processes of this machine, one "
        "for each GPU; ray, workers of a Ray cluster, one run on a GPU",
        metavar="|".join(EXECUTORS),
    )
    workers: int | None = setting(
        None,
        parsing.optional(parsing.integer(minimum=1)),
        "runs at once with --executor local or ray; none: one for each GPU, or on a CPU one process, or one for every "
        "--threads cores of a cluster",
    )
    ray_address: str | None = setting(
        None,
        parsing.optional(parsing.text),
        "head of the cluster for --executor ray, as HOST:PORT; none: RAY_ADDRESS, the one that runs here, or a new one "
        "of this machine",
        metavar="ADDRESS",
    )
