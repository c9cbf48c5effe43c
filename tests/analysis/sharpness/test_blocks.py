from __future__ import annotations

import numpy as np
import pytest

from analysis import HessianOperator, Objective, SettingsError, eigenvalues, parameter_space
from analysis.sharpness import block_estimate, objective_blocks, over_blocks, paired_difference


def test_mean_and_standard_error_are_the_textbook_ones() -> None:
    values = [1.0, 4.0, 2.5, 0.5]
    found = block_estimate(values)
    assert found.values == tuple(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-14)
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / 2.0, rel=1e-14)


def test_a_paired_difference_is_blind_to_what_the_blocks_share() -> None:
    shared = np.array([10.0, 200.0, 30.0])
    first, second = block_estimate(list(shared)), block_estimate(list(shared + np.array([1.0, 1.1, 0.9])))
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(1.0, rel=1e-12)
    assert found.standard_error == pytest.approx(0.1 / np.sqrt(3), rel=1e-9)
    assert found.standard_error < first.standard_error / 100


def test_blocks_cut_the_batches_and_weigh_up_to_the_whole(tiny_lora, batches) -> None:
    model = tiny_lora()
    blocks = objective_blocks(model, batches, examples=2)
    assert [len(block.batches[0]["labels"]) for block in blocks] == [2, 2, 1]
    total = tokens = 0.0
    for block in blocks:
        count = block.batch_loss(0)[1]
        total, tokens = total + count * block.value(), tokens + count
    assert total / tokens == pytest.approx(Objective(model, batches).value(), rel=1e-10)


def test_an_eigenvalue_is_measured_on_every_block(tiny_lora, batches) -> None:
    model = tiny_lora()
    blocks = objective_blocks(model, batches, examples=1)
    reports: list[float] = []
    with parameter_space(model, "lora") as space:

        def largest(objective: Objective) -> float:
            return eigenvalues(HessianOperator(objective, space), top=1, bottom=0).top[0].value

        found = over_blocks(largest, blocks, on_progress=lambda done, note: reports.append(done))
        assert found.values[1] == pytest.approx(largest(blocks[1]), rel=1e-9)
    assert len(found.values) == 5
    assert reports == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_too_few_or_unequal_blocks_are_refused(tiny_lora, batches) -> None:
    model = tiny_lora()
    with pytest.raises(SettingsError, match="at least 1 in a block"):
        objective_blocks(model, batches, examples=0)
    blocks = objective_blocks(model, batches[:1], examples=2)
    with pytest.raises(SettingsError, match="1 block"):
        over_blocks(lambda objective: 1 / 0, blocks)
    with pytest.raises(SettingsError, match="2 and 3 blocks"):
        paired_difference(block_estimate([1.0, 2.0]), block_estimate([1.0, 2.0, 3.0]))
