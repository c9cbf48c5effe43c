"""The metric `code_eval`, by which lm-eval's HumanEval and MBPP judge programs, run in our sandbox.

The original (`evaluate.load("code_eval")`, after Chen et al., arXiv 2107.03374) executes what a model wrote in a child
of the harness' own process, with its files, its network and its environment. The tasks ask for it by name when they are
loaded; `sandboxed` answers with an object of the same interface whose programs run in `benchmarks.sandbox`. A program
and its tests still share one interpreter, as everywhere with HumanEval: one that is written to cheat can make its own
tests pass, but it reaches nothing outside. The sandbox has the modules that short programs import, not numpy.
"""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import comb
from typing import Any

from benchmarks.errors import UsageError
from benchmarks.sandbox import Limits, SandboxError, check_isolation, run_calls

#: What the original gives a program, in seconds.
TIMEOUT = 3.0
_MEMORY_MB = 1024


class SandboxedCodeEval:
    """Stands in for the module that `evaluate.load("code_eval")` returns."""

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Sequence[int] = (1, 10, 100),
        timeout: float = TIMEOUT,
        **unused: Any,
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """Run every candidate with its tests.

        Args:
            references: The tests of each problem, as a program that raises if one of them fails.
            predictions: The candidates of each problem.
            k: Candidates that count as one attempt in pass@k.
            timeout: Seconds for one program.
            **unused: Whatever else the original takes (workers), which has no meaning here.

        Returns:
            pass@k for every k that all problems have candidates for, and per problem what became of each candidate.
        """
        jobs = [
            (problem, number, f"{candidate}\n{tests}")
            for problem, (candidates, tests) in enumerate(zip(predictions, references, strict=True))
            for number, candidate in enumerate(candidates)
        ]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            reasons = list(pool.map(lambda job: run_tests(job[2], seconds=timeout), jobs))
        results: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for (problem, number, _), reason in zip(jobs, reasons, strict=True):
            result = "passed" if reason is None else f"failed: {reason}"
            record: dict[str, Any] = {
                "task_id": problem,
                "passed": reason is None,
                "result": result,
                "completion_id": number,
            }
            results[problem].append((number, record))
        counts = [(len(found), sum(bool(record["passed"]) for _, record in found)) for found in results.values()]
        scores = {
            f"pass@{size}": sum(pass_at_k(total, correct, size) for total, correct in counts) / len(counts)
            for size in ([k] if isinstance(k, int) else k)
            if all(total >= size for total, _ in counts)
        }
        return scores, results


def pass_at_k(total: int, correct: int, k: int) -> float:
    """Return the chance that one of k candidates drawn from `total` without replacement is among the correct ones."""
    return 1.0 - comb(total - correct, k) / comb(total, k)


def run_tests(source: str, *, seconds: float = TIMEOUT) -> str | None:
    """Run a program whose tests raise if they fail; returns why it failed, or None if it came to its end."""
    # Only a program that ran to its last line knows what to answer.
    word = secrets.token_hex(16)
    ending = f"\ndef came_to_its_end_{word}():\n    return {word!r}\n"
    limits = Limits(seconds=seconds, memory_mb=_MEMORY_MB)
    outcome = run_calls(source + ending, f"came_to_its_end_{word}", [[]], limits=limits)
    if outcome.values == (word,):
        return None
    return outcome.error or "it answered with something else"


@contextmanager
def sandboxed() -> Iterator[None]:
    """Answer `evaluate.load("code_eval")` with the sandboxed one as long as this context lasts.

    Raises:
        UsageError: When a task asks for it and this machine cannot isolate programs.
    """
    import evaluate

    original = evaluate.load

    def load(path: str, *arguments: Any, **options: Any) -> Any:
        if path != "code_eval":
            return original(path, *arguments, **options)
        try:
            check_isolation()
        except SandboxError as error:
            raise UsageError(f"the task runs what models write: {error}") from None
        return SandboxedCodeEval()

    evaluate.load = load
    try:
        yield
    finally:
        evaluate.load = original


def runs_in_the_sandbox(task: Any) -> bool:
    """Whether a loaded task that is marked as unsafe takes its metric from the sandboxed `code_eval`.

    A task that executes programs by functions of its own (CRUXEval, LongProc) does not.
    """
    functions = [*task._metric_fn_list.values(), task.config.process_results]
    functions += [entry["metric"] for entry in task.config.metric_list or [] if callable(entry["metric"])]
    return any(_uses_it(function) for function in functions)


def _uses_it(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, SandboxedCodeEval):
        return True
    space = getattr(function, "__globals__", {})
    # MBPP keeps the module's object, HumanEval too; one that keeps its `compute` alone would be bound to it.
    return any(
        isinstance(value, SandboxedCodeEval) or isinstance(getattr(value, "__self__", None), SandboxedCodeEval)
        for value in list(space.values())
    )
