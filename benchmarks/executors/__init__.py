"""Who carries out the runs of a comparison: this process, several on this machine, or the workers of a Ray cluster."""

from benchmarks.executors.choice import Executor, check_executor, open_executor

__all__ = ["Executor", "check_executor", "open_executor"]
