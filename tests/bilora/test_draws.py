from __future__ import annotations

import pytest
import torch

from bilora.draws import keyed_generator, normals, standard_normals


def draw(*key: int) -> torch.Tensor:
    return torch.randn(64, generator=keyed_generator("cpu", *key))


def test_a_key_is_a_stream() -> None:
    assert torch.equal(draw(3, 7, 1), draw(3, 7, 1))
    # Neither sums nor joined digits of the parts.
    keys = [(3, 7, 1), (3, 1, 7), (3, 8, 0), (37, 1), (3, 71), (3, 7), (3, 7, 1, 0)]
    drawn = [draw(*key) for key in keys]
    assert len({tuple(values.tolist()) for values in drawn}) == len(keys)


def test_large_and_negative_parts_are_keys_too() -> None:
    assert not torch.equal(draw(2**63 - 1, 0), draw(2**31 - 1, 0))
    assert not torch.equal(draw(-1), draw(1))


def test_normals_have_the_shapes_and_types_asked_for_and_are_independent() -> None:
    like = [torch.empty(30, 50), torch.empty(50, 30, dtype=torch.bfloat16), torch.empty(30, 50), torch.empty(())]
    first, second, third, scalar = standard_normals(like, 1, 2)
    assert [t.shape for t in (first, second, third, scalar)] == [t.shape for t in like]
    assert second.dtype == torch.bfloat16
    for values in (first, second.float(), third):
        # Standard errors of mean and standard deviation of 1500 normals: 0.026 and 0.018.
        assert values.mean().item() == pytest.approx(0, abs=0.1)
        assert values.std().item() == pytest.approx(1, abs=0.08)
    assert (first * third).mean().abs() < 0.12
    assert torch.equal(first, standard_normals(like, 1, 2)[0])
    assert not torch.equal(first, standard_normals(like, 1, 3)[0])


@pytest.mark.parametrize("count", [100, 2**16, 2**16 + 7, 200_001])
def test_large_draws_do_not_depend_on_the_number_of_threads(count: int) -> None:
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(normals([count], 4, 2, device=torch.device("cpu")))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], normals([count], 4, 2, device=torch.device("cpu")))
    assert not torch.equal(drawn[0], normals([count], 4, 3, device=torch.device("cpu")))
    # Standard errors of the mean and of the standard deviation.
    assert abs(drawn[0].mean().item()) < 5 * count**-0.5
    assert abs(drawn[0].std().item() - 1) < 5 * (2 * count) ** -0.5
    if count > 2**16:
        pieces = drawn[0][: 2**16].view(2, -1)
        assert abs((pieces[0] * pieces[1]).mean().item()) < 5 * 2**-7.5


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    standard_normals([torch.empty(10)], 5)
    assert torch.equal(torch.get_rng_state(), before)
