"""How much of the time workers had a run at work.

The clock runs from the first run's start to the last run's end, over all workers, those included that had no run at
all; a run at work is one between the moment its worker took it up and the moment it was done with it, loading and
compiling included. So what counts as idle is: waiting for libraries while another worker has begun already, the time
from one run to the next, and the end, when some workers have nothing left. What starting takes before the first run
is no part of the share and is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time in which a worker had a run at work.

    Attributes:
        worker: Number of the worker.
        key: Of the run.
        began: Seconds on any clock that all spans share.
        ended: On the same.
        outcome: What became of it; "lost" where the worker was lost on it.
    """

    worker: int
    key: str
    began: float
    ended: float
    outcome: str

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)


def busy_seconds(spans: Sequence[Span], workers: int) -> list[float]:
    """Return for every worker the seconds in which it had a run at work."""
    return [sum(span.ended - span.began for span in spans if span.worker == worker) for worker in range(workers)]


def wall_seconds(spans: Sequence[Span]) -> float:
    """Return the seconds from the first run's start to the last run's end; 0 without runs."""
    return max(span.ended for span in spans) - min(span.began for span in spans) if spans else 0.0


def busy_share(spans: Sequence[Span], workers: int) -> float:
    """Return the share of the workers' time in which they had a run at work, in [0, 1]; 1 without runs."""
    wall = wall_seconds(spans)
    return sum(busy_seconds(spans, workers)) / (workers * wall) if wall else 1.0


def repeated_runs(spans: Sequence[Span]) -> list[str]:
    """Return the keys of runs that were done to their end more than once."""
    done = [span.key for span in spans if span.outcome in ("finished", "failed")]
    return sorted({key for key in done if done.count(key) > 1})
