from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.claims.cost import MARGIN, recorded_ratio
from benchmarks.claims.verdict import HOLDS, Missing, Region, verdict


def record(method: str, middle: float, spread: float, **changes: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "shape": "4x256",
        "method": method,
        "path": "graphed",
        "step_ms": middle,
        "step_ms_low": middle - spread,
        "step_ms_high": middle + spread,
        "rounds": 20,
        **changes,
    }


def test_the_ratio_is_the_geometric_mean_over_shapes() -> None:
    records = [record("lora", 10.0, 0.0), record("bilora", 12.0, 0.0)]
    records += [record("lora", 10.0, 0.0, shape="4x1024"), record("bilora", 8.0, 0.0, shape="4x1024")]
    found = recorded_ratio(records)
    assert found.value == pytest.approx(math.sqrt(1.2 * 0.8))
    assert (found.low, found.high) == pytest.approx((found.value, found.value))


def test_the_interval_is_that_of_two_medians_of_normal_samples() -> None:
    """Against the spread of medians of twenty draws, taken by simulation."""
    import numpy as np

    rng = np.random.default_rng(0)
    draws = rng.normal(100.0, 2.0, size=(20_000, 20))
    low, high = np.quantile(draws, [0.25, 0.75], axis=1).mean(axis=1)
    spread = float(np.std(np.median(draws, axis=1)))
    found = recorded_ratio([record(name, 100.0, (high - low) / 2) for name in ("lora", "bilora")])
    half = (math.log(found.high) - math.log(found.low)) / 2
    # 38 degrees of freedom: 2.02 standard errors.
    assert half == pytest.approx(2.02 * math.sqrt(2.0) * spread / 100.0, rel=0.06)


def test_other_paths_and_methods_without_a_partner_do_not_count() -> None:
    with pytest.raises(Missing, match="no step of Bi-LoRA beside one of LoRA"):
        recorded_ratio([record("bilora", 12.0, 1.0), record("lora", 10.0, 1.0, path="stock")])


def test_the_committed_record_is_within_the_margin() -> None:
    from benchmarks.claims.cost import _records

    found = recorded_ratio(_records())
    assert verdict(found.low, found.high, Region(high=MARGIN)) == HOLDS
