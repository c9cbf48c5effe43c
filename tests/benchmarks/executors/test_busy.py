from __future__ import annotations

import pytest

from benchmarks.executors.busy import Span, busy_seconds, busy_share, repeated_runs, wall_seconds


def span(worker: int, key: str, began: float, ended: float, outcome: str = "finished") -> Span:
    return Span(worker=worker, key=key, began=began, ended=ended, outcome=outcome)


SPANS = [span(0, "a", 100, 104), span(0, "b", 105, 109), span(1, "c", 102, 108), span(1, "d", 108, 110, "lost")]


def test_the_clock_runs_from_the_first_run_s_start_to_the_last_one_s_end() -> None:
    assert wall_seconds(SPANS) == 10
    assert busy_seconds(SPANS, 2) == [8, 8]
    assert busy_share(SPANS, 2) == pytest.approx(0.8)


def test_a_worker_without_any_run_is_idle_all_the_time() -> None:
    assert busy_share(SPANS, 4) == pytest.approx(0.4)
    assert busy_share([], 4) == 1.0


def test_a_run_is_repeated_if_it_came_to_its_end_twice() -> None:
    assert repeated_runs(SPANS) == []
    assert repeated_runs([*SPANS, span(0, "d", 111, 112)]) == []
    assert repeated_runs([*SPANS, span(1, "a", 111, 112, "failed")]) == ["a"]
