from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.progress import STAGE_SHARES, ComparisonProgress


def test_stages_fill_a_run() -> None:
    assert sum(STAGE_SHARES.values()) == pytest.approx(1.0)


def test_plain_output_names_run_and_stage() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    with ComparisonProgress([1.0, 2.0], console) as comparison, comparison.run(0, "lora · seed 0") as run:
        run.stage("training")(0.5, "step 5/10 loss 1.000")
        run.stage("scoring")
        run.stage("scoring")
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[:2] == ["lora · seed 0: training", "lora · seed 0: scoring"]
    assert lines[2].startswith("[1/2] lora · seed 0: ")


def test_a_long_stage_says_once_a_minute_in_a_log_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.progress.time.monotonic", lambda: now)
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    with ComparisonProgress([1.0], console) as comparison, comparison.run(0, "lora") as run:
        update = run.stage("training")
        for step in range(1, 6):
            now += 25.0
            update(step / 5, f"step {step}/5")
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[:-1] == ["lora: training", "lora: training, 60%, step 3/5"]


def test_live_display_shows_step_loss_and_time_left() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    with ComparisonProgress([1.0, 3.0], console) as comparison, comparison.run(0, "lora") as run:
        run.stage("training")(1.0, "step 10/10 loss 0.250")
        comparison._bar.refresh()
    shown = stream.getvalue()
    assert "15%" in shown  # a quarter of the work, of which training is 60 %
    assert "lora · training step 10/10 loss 0.250" in shown
    assert " left" in shown
