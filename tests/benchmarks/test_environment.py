from __future__ import annotations

import json

import torch

from benchmarks.environment import PACKAGES, PeakMemory, environment


def test_environment_names_versions_and_machine() -> None:
    record = environment(torch.device("cpu"))
    json.dumps(record, allow_nan=False)
    assert record["torch"] == torch.__version__
    assert set(PACKAGES) | {"python", "processor", "cores", "threads", "device", "revision"} <= record.keys()


def test_peak_memory_sees_an_allocation_that_is_gone_again() -> None:
    memory = PeakMemory(torch.device("cpu"))
    assert memory.read() < 16 * 2**20
    block = torch.ones(64 * 2**20 // 4)
    block += 1
    del block
    # The kernel adds up resident pages in batches, so the last few hundred kilobytes may be missing.
    assert 60 * 2**20 < memory.read() < 96 * 2**20
    assert PeakMemory(torch.device("cpu")).read() < 16 * 2**20


def test_what_was_held_before_does_not_count() -> None:
    held = torch.ones(64 * 2**20 // 4)
    assert PeakMemory(torch.device("cpu")).read() < 16 * 2**20
    assert held.sum() > 0
