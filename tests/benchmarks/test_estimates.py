"""Estimates against the measured records, against counting by hand, and against a model that was left out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import estimates
from benchmarks.estimates import HUB_SHAPES, RESULTS, Step, estimate, linear_weights, pocket_estimate
from benchmarks.model_shapes import SHAPES

LLAMA = Step(
    model="llama-3.1-8b",
    method="lora",
    quantize=None,
    rows=4,
    tokens=1024,
    graphed=True,
    trains_all_weights=False,
    rank=8,
)


def measured(model: str, shape: str, method: str, path: str) -> tuple[float, float]:
    records = json.loads((RESULTS / "efficiency-h200.json").read_text())["records"]
    own = (model, shape, method, path)
    return next(
        (r["step_ms"] / 1e3, r["peak_gb"] * 1e9)
        for r in records
        if (r["model"], r["shape"], r["method"], r["path"]) == own
    )


@pytest.mark.parametrize("method", ["lora", "lora-sam", "bilora"])
def test_a_step_that_was_measured_is_taken_as_it_is(method: str) -> None:
    found = estimate(replace(LLAMA, method=method))
    assert (found.seconds, found.bytes) == pytest.approx(measured("llama-3.1-8b", "4x1024", method, "graphed"))


def test_without_graphs_the_step_is_peft_s_and_the_method_s_share_is_kept() -> None:
    found = estimate(replace(LLAMA, method="lora-sam", graphed=False))
    stock, _ = measured("llama-3.1-8b", "4x1024", "peft-lora", "stock")
    ratio = (
        measured("llama-3.1-8b", "4x1024", "lora-sam", "graphed")[0]
        / measured("llama-3.1-8b", "4x1024", "lora", "graphed")[0]
    )
    assert found.seconds == pytest.approx(stock * ratio)


def test_weights_are_counted_as_by_hand() -> None:
    llama2 = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32000
    assert linear_weights("llama-2-7b") == llama2
    llama31 = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 4096 * 128256
    found = estimate(replace(LLAMA, model="llama-2-7b"))
    assert found.seconds == pytest.approx(measured("llama-3.1-8b", "4x1024", "lora", "graphed")[0] * llama2 / llama31)
    assert any("scaled from llama-3.1-8b" in sentence for sentence in found.basis)


def test_a_model_that_is_left_out_is_predicted_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, peak = measured("qwen2.5-14b", "4x1024", "lora", "graphed")
    others = tuple(record for record in estimates.records() if record["model"] != "qwen2.5-14b")
    monkeypatch.setattr(estimates, "records", lambda: others)
    found = estimate(replace(LLAMA, model="qwen2.5-14b"))
    assert found.seconds == pytest.approx(seconds, rel=0.15)
    assert found.bytes == pytest.approx(peak, rel=0.15)


def test_longer_rows_are_predicted_from_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    short = tuple(record for record in estimates.records() if record["shape"] != "4x1024")
    monkeypatch.setattr(estimates, "records", lambda: short)
    found = estimate(LLAMA)
    seconds, peak = measured("llama-3.1-8b", "4x1024", "lora", "graphed")
    # At 4 x 256 the host is part of the step, so four times as many tokens take a little less than four times as long.
    assert seconds < found.seconds < 1.1 * seconds
    assert found.bytes == pytest.approx(peak, rel=0.2)


def test_training_all_weights_costs_half_as_much_again_and_sixteen_bytes_a_weight() -> None:
    lora, full = estimate(LLAMA), estimate(replace(LLAMA, method="full-ft", trains_all_weights=True))
    assert full.seconds == pytest.approx(1.5 * lora.seconds)
    assert lora.bytes is not None
    assert full.bytes == pytest.approx(lora.bytes + 16 * 8_030_261_248)


def test_four_bits_take_4_5_instead_of_16_from_every_linear_weight() -> None:
    plain, small = estimate(LLAMA), estimate(replace(LLAMA, quantize="nf4"))
    assert plain.bytes is not None
    assert small.bytes == pytest.approx(plain.bytes - (16 - 4.5) / 8 * linear_weights("llama-3.1-8b"))
    assert any("left out" in sentence for sentence in small.basis)


def test_float32_says_that_it_is_a_lower_bound() -> None:
    found = estimate(replace(LLAMA, dtype="float32"))
    assert any(sentence.startswith("float32") and "at least" in sentence for sentence in found.basis)


def test_other_methods_cost_what_they_cost_on_the_pocket_model() -> None:
    records = json.loads((RESULTS / "step-cost-methods.json").read_text())["records"]
    ratio = next(r["ratio_to_our_lora"] for r in records if (r["method"], r["path"]) == ("flat-lora", "fused"))
    assert estimate(replace(LLAMA, method="flat-lora")).seconds == pytest.approx(ratio * estimate(LLAMA).seconds)
    step_ms = next(r["step_ms"] for r in records if (r["method"], r["path"]) == ("flat-lora", "fused"))
    pocket = pocket_estimate("flat-lora", rows=32)
    assert pocket is not None
    assert pocket.seconds == pytest.approx(2e-3 * step_ms)
    assert pocket.bytes is None


def test_every_model_of_the_hub_has_its_shape() -> None:
    assert set(HUB_SHAPES.values()) == set(SHAPES)


def test_the_run_that_was_measured_took_what_the_plan_says_within_a_fifth() -> None:
    found = json.loads((RESULTS / "sdxl-dreambooth-h200.json").read_text())
    plan = estimate(
        Step(
            model="sdxl-unet",
            method="lora",
            quantize=None,
            rows=1,
            tokens=128 * 128,
            graphed=False,
            trains_all_weights=False,
            rank=4,
        )
    )
    assert plan.bytes is not None
    assert 4 * plan.seconds == pytest.approx(found["predicted"]["step_seconds"])
    assert 4 * plan.seconds == pytest.approx(found["run"]["step_seconds"], rel=0.2)
    assert plan.bytes / 1e9 == pytest.approx(found["run"]["peak_gb"], rel=0.02)
