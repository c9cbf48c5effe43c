from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.estimates import RESULTS
from benchmarks.reliability.scheduling import STEPS, paper_grid, simulate_scheduling


def test_the_grid_is_measured_methods_times_tasks_in_the_order_of_a_comparison() -> None:
    grid = paper_grid(1000)
    count = len(set(grid.families))
    assert count % 7 == 0
    assert grid.families[:count] == grid.families[count : 2 * count]
    tasks = json.loads((RESULTS / "pocket-suite-cpu.json").read_text())["tasks"]
    stages = tasks["pocket-math"]["stages"]
    same = sum(stage["evaluate"] + stage["measure"] for stage in stages.values()) / 3
    at = grid.families.index(("lora", "pocket-math"))
    assert grid.means[at] == pytest.approx(stages["lora"]["train"] + same)
    step = next(
        record["step_ms"]
        for record in json.loads((RESULTS / "step-cost-methods.json").read_text())["records"]
        if (record["method"], record["path"]) == ("lora", "fused")
    )
    assert grid.guesses[at] == pytest.approx(step / 1e3 * STEPS)


def test_drawn_times_spread_around_their_means() -> None:
    grid = paper_grid(3000)
    ratios = np.log(np.array(grid.drawn(np.random.default_rng(0))) / np.array(grid.means))
    assert ratios.std() == pytest.approx(grid.spread, rel=0.05)
    assert np.exp(ratios).mean() == pytest.approx(1.0, abs=0.01)


def test_the_record_compares_policies_and_conditions() -> None:
    lines: list[str] = []
    found = simulate_scheduling(runs=400, workers=8, seed=0, say=lines.append)
    rows = found["policies"]
    assert len(lines) == len(rows) + len(found["other_conditions"])
    ours = rows["longest first, learning"]
    assert 0 < ours["idle_share_least"] <= ours["idle_share"] <= ours["idle_share_most"] < 1
    assert ours["idle_share"] < ours["idle_share_with_start"]
    assert ours["idle_share"] < rows["shortest first"]["idle_share"]
    assert ours["seconds_over_lower_bound"] > 1
    assert found["other_conditions"]["no worker is lost"]["workers_lost"] == 0
