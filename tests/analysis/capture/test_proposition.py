from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import SettingsError
from analysis.capture import compare_proposition_three

G = np.random.default_rng(3).standard_normal((12, 10))


@pytest.mark.parametrize(("rank", "norm"), [(4, 2.0), (8, 8**0.5), (1, 1.0)])
def test_the_printed_point_leaves_the_ball_and_the_corrected_one_is_best(rank, norm) -> None:
    found = compare_proposition_three(torch.as_tensor(G), rank=rank, radius=0.05, competitors=400)
    values = np.linalg.svd(G, compute_uv=False)[:rank]
    assert found.printed_norm == pytest.approx(0.05 * norm, rel=1e-12)
    assert found.printed_value == pytest.approx(0.05 * values.sum(), rel=1e-12)
    assert found.corrected_norm == pytest.approx(0.05, rel=1e-12)
    assert found.corrected_value == pytest.approx(0.05 * np.sqrt((values**2).sum()), rel=1e-12)
    assert found.bound == pytest.approx(found.corrected_value, rel=1e-12)
    assert found.printed_value_in_ball <= found.bound * (1 + 1e-12)
    # Close competitors come within a few parts in ten thousand, so the comparison is not empty.
    assert 0.999 * found.bound < found.best_competitor < found.bound


def test_at_full_rank_the_corrected_value_is_that_of_sam_and_the_printed_one_is_not() -> None:
    found = compare_proposition_three(torch.as_tensor(G), rank=10, competitors=0)
    assert found.bound == pytest.approx(np.linalg.norm(G), rel=1e-12)
    assert found.sam_value == pytest.approx(found.bound, rel=1e-12)
    assert found.printed_value > 2 * found.sam_value


def test_a_rank_of_zero_is_refused() -> None:
    with pytest.raises(SettingsError, match="rank is 0"):
        compare_proposition_three(torch.as_tensor(G), rank=0)
