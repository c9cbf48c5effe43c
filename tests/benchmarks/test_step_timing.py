from __future__ import annotations

import time

import torch

from benchmarks.step_timing import blocks, time_steps


def test_rounds_are_interleaved_and_timed() -> None:
    order: list[str] = []

    def step(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    steps = {"a": lambda: step("a", 0.001), "b": lambda: step("b", 0.02)}
    seconds = time_steps(steps, rounds=3, warm_up=1, device=torch.device("cpu"))
    assert order == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert min(seconds["b"]) >= 0.02 > min(seconds["a"]) >= 0.001


def test_blocks_hold_what_comes_every_fifth_step() -> None:
    assert blocks([6.0, 1.0, 1.0, 1.0, 1.0] * 2) == [2.0, 2.0]
