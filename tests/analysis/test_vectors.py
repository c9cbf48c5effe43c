from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import vectors


def test_dot_norm_and_axpy_agree_with_numpy_on_the_concatenation() -> None:
    shapes = ((3, 4), (5,), (2, 1, 3))
    x = [torch.randn(s, dtype=torch.float64) for s in shapes]
    y = [
        torch.randn(s, dtype=torch.float64).mT.contiguous().mT if len(s) > 1 else torch.randn(s).double()
        for s in shapes
    ]
    flat_x, flat_y = (np.concatenate([b.numpy().ravel() for b in v]) for v in (x, y))
    assert np.isclose(vectors.dot(x, y), flat_x @ flat_y, rtol=1e-13)
    assert np.isclose(vectors.norm(x), np.linalg.norm(flat_x), rtol=1e-13)
    moved = np.concatenate([b.numpy().ravel() for b in vectors.axpy(-0.7, x, y)])
    np.testing.assert_allclose(moved, flat_y - 0.7 * flat_x, rtol=1e-13)
    halved = np.concatenate([b.numpy().ravel() for b in vectors.scale(x, 0.5)])
    np.testing.assert_array_equal(halved, 0.5 * flat_x)


def test_narrow_blocks_are_summed_in_float32() -> None:
    block = torch.full((4096,), 0.1, dtype=torch.bfloat16)
    entry = float(block[0])
    # In bfloat16 the running sum stops growing at 2 ** 8 of its last place.
    assert np.isclose(vectors.dot([block], [block]), 4096 * entry**2, rtol=1e-5)


def test_blocks_are_summed_in_float64() -> None:
    large, small = torch.tensor([1e4]), torch.tensor([1.0])
    assert vectors.dot([large, small], [large, small]) == 1e8 + 1.0


def test_the_empty_vector_has_length_zero() -> None:
    assert vectors.norm([]) == 0.0


def test_a_draw_depends_on_seed_name_and_stream_alone() -> None:
    like = [torch.zeros(3, 2), torch.zeros(4)]
    torch.manual_seed(0)
    first = vectors.random(like, ["a", "b"], seed=3, stream="s")
    torch.manual_seed(1)
    alone = vectors.random(like[1:], ["b"], seed=3, stream="s")
    assert torch.equal(first[1], alone[0])
    for other in (
        vectors.random(like[1:], ["c"], seed=3, stream="s"),
        vectors.random(like[1:], ["b"], seed=4, stream="s"),
        vectors.random(like[1:], ["b"], seed=3, stream="t"),
    ):
        assert not torch.allclose(other[0], alone[0])


def test_a_draw_is_the_same_in_every_type_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    narrow = vectors.random([torch.zeros(5, dtype=torch.bfloat16)], ["a"], seed=0, stream="s")[0]
    wide = vectors.random([torch.zeros(5, dtype=torch.float64)], ["a"], seed=0, stream="s")[0]
    assert narrow.dtype == torch.float32
    assert wide.dtype == torch.float64
    assert torch.equal(narrow.double(), wide)
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_are_standard_normal() -> None:
    draw = vectors.random([torch.zeros(20_000)], ["a"], seed=0, stream="s")[0]
    assert abs(float(draw.mean())) < 0.03
    assert abs(float(draw.std()) - 1.0) < 0.03


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA devices draw for themselves")
def test_a_cuda_device_draws_many_numbers_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    like = [torch.zeros(40, 50, device="cuda"), torch.zeros(7, device="cuda")]
    few = vectors.random(like, ["a", "b"], seed=3, stream="s")
    assert torch.equal(few[0].cpu(), vectors.random([like[0].cpu()], ["a"], seed=3, stream="s")[0])
    monkeypatch.setattr(vectors, "_DEVICE_DRAW", 2000)
    many, again = (vectors.random(like, ["a", "b"], seed=3, stream="s") for _ in range(2))
    assert not torch.equal(many[0], few[0])
    assert torch.equal(many[0], again[0])
    assert abs(float(many[0].std()) - 1) < 0.1
