"""Runs functions that a model has written where they can do no harm, see `benchmarks.sandbox.runner`."""

from benchmarks.sandbox.process import SandboxError
from benchmarks.sandbox.runner import Limits, Outcome, check_isolation, run_calls

__all__ = ["Limits", "Outcome", "SandboxError", "check_isolation", "run_calls"]
