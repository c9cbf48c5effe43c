from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.utils.checkpoint import checkpoint

from bilora.gradient_sketch import GradientSketch

M, N, RANK = 30, 40, 3


def bare(
    *, memory: float = 0.0, shape: tuple[int, int] = (M, N), seed: int = 0, width: int | None = None
) -> GradientSketch:
    return GradientSketch([nn.Identity()], [shape], rank=RANK, memory=memory, seed=seed, width=width)


def feed(sketch: GradientSketch, G: Tensor) -> None:
    """Tokens that make up a given gradient: x = identity, output gradients = G^T."""
    sketch.add(0, torch.eye(G.shape[1]), G.T.contiguous())


def leading(sketch: GradientSketch) -> Tensor:
    found = sketch.leading()[0]
    return (found.U[0] * found.S[0]) @ found.Vt[0]


def best(G: Tensor, rank: int = RANK) -> Tensor:
    U, S, Vt = torch.linalg.svd(G.double(), full_matrices=False)
    return ((U[:, :rank] * S[:rank]) @ Vt[:rank]).float()


def gradient(*, rank: int = M, decay: float = 0.0, seed: int = 1, shape: tuple[int, int] = (M, N)) -> Tensor:
    """A matrix with singular values i^-decay, of a given rank."""
    generator = torch.Generator().manual_seed(seed)
    U, _, Vt = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    S = torch.arange(1, len(Vt) + 1).float() ** -decay
    S[rank:] = 0.0
    return (U * S) @ Vt


@pytest.mark.parametrize("shape", [(M, N), (N, M), (5, N), (M, 2)])
def test_exact_where_the_gradient_has_low_rank(shape: tuple[int, int]) -> None:
    """Up to k = 2r + 1 = 7 the approximation is the truncated singular value decomposition itself."""
    G = gradient(rank=7, decay=0.5, shape=shape)
    sketch = bare(shape=shape)
    feed(sketch, G)
    sketch.close_step()
    torch.testing.assert_close(leading(sketch), best(G), rtol=1e-4, atol=1e-5)
    found = sketch.leading()[0]
    rank = min(RANK, *shape)
    torch.testing.assert_close(found.S[0], torch.linalg.svdvals(G)[:rank], rtol=1e-4, atol=1e-6)
    for basis in (found.U[0].T @ found.U[0], found.Vt[0] @ found.Vt[0].T):
        torch.testing.assert_close(basis, torch.eye(rank), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(("width", "bound"), [(None, 1.5), (15, 1.1)])
def test_error_is_near_the_best_where_the_spectrum_falls(width: int | None, bound: float) -> None:
    G = gradient(decay=1.5)
    least = (G - best(G)).norm()
    errors = []
    for seed in range(20):
        sketch = bare(seed=seed, width=width)
        feed(sketch, G)
        sketch.close_step()
        errors.append(float((G - leading(sketch)).norm() / least))
    assert min(errors) >= 1.0
    assert sum(errors) / len(errors) < bound


def test_sketches_add_up_and_remember() -> None:
    """Two micro-batches are their sum; over steps the past is weighed by the memory, and a dropped step leaves none."""
    first, second = gradient(rank=2, seed=1), gradient(rank=2, seed=2)
    sketch = bare(memory=0.5)
    feed(sketch, first)
    sketch.drop_step()
    feed(sketch, first / 4)
    feed(sketch, 3 * first / 4)
    sketch.close_step()
    feed(sketch, second)
    sketch.close_step()
    torch.testing.assert_close(leading(sketch), best(0.5 * first + second), rtol=1e-4, atol=1e-5)


def test_a_zero_gradient_gives_zeros() -> None:
    sketch = bare()
    sketch.close_step()
    assert leading(sketch).abs().max() == 0.0


class Deep(nn.Module):
    """Linear layers, the first used twice, with or without activation checkpointing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(12, 12), nn.Linear(12, 9)

    def body(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))

    def forward(self, x: Tensor, reentrant: bool | None = None) -> Tensor:
        run = self.body if reentrant is None else partial(checkpoint, self.body, use_reentrant=reentrant)
        return run(x.requires_grad_()).square().mean()


def listened(**options: object) -> tuple[Deep, GradientSketch]:
    model = Deep()
    sketch = GradientSketch([model.first, model.second], [(12, 12), (9, 12)], rank=6, memory=0.0, seed=0)
    sketch.listening = True
    generator = torch.Generator().manual_seed(4)
    for _ in range(2):
        model(torch.randn(2, 3, 12, generator=generator), **options).backward()
    sketch.close_step()
    return model, sketch


@pytest.mark.parametrize("reentrant", [None, True, False])
def test_hooks_see_the_gradient_autograd_finds(reentrant: bool | None) -> None:
    model, sketch = listened(reentrant=reentrant)
    for index, weight in enumerate((model.first.weight, model.second.weight)):
        found = next(group for group in sketch.leading() if index in group.indices)
        expected = best(weight.grad, 6)  # k = 13 is more than a side: nothing is lost
        torch.testing.assert_close((found.U[0] * found.S[0]) @ found.Vt[0], expected, rtol=1e-4, atol=1e-6)
    plain = listened()[1].tensors()
    for tensor, expected in zip(sketch.tensors(), plain, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-7)


def test_nothing_is_heard_unless_it_listens() -> None:
    model, sketch = listened()
    sketch.listening = False
    before = [t.clone() for t in sketch.tensors()]
    model(torch.ones(1, 2, 12)).backward()
    sketch.listening = True
    with torch.no_grad():
        model.body(torch.ones(1, 2, 12))
    sketch.memory = 1.0
    sketch.close_step()
    assert all(torch.equal(a, b) for a, b in zip(before, sketch.tensors(), strict=True))


def test_bf16_autocast_gives_the_gradient_to_its_precision() -> None:
    G = gradient(rank=3, decay=0.5)
    sketch = bare()
    sketch.add(0, torch.eye(N), G.T.bfloat16())
    sketch.close_step()
    assert sketch.tensors()[0].dtype == torch.float32
    assert (leading(sketch) - best(G)).norm() < 2e-2 * G.norm()


def test_a_seed_set_anew_draws_the_test_matrices_anew() -> None:
    sketches = [bare(seed=0), bare(seed=1), bare(seed=1)]
    sketches[2].seed = 0
    for sketch in sketches:
        feed(sketch, gradient())
        sketch.close_step()
    first, second, third = (sketch.tensors()[0] for sketch in sketches)
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def _one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    sketch = bare()
    feed(sketch, gradient(rank=2, seed=1 + rank))
    sketch.close_step()
    torch.save(sketch.tensors(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_of_a_data_parallel_run_remember_the_joint_gradient(tmp_path: Path) -> None:
    multiprocessing.spawn(_one_rank, args=(str(tmp_path),), nprocs=2)
    joint = bare()
    feed(joint, gradient(rank=2, seed=1) + gradient(rank=2, seed=2))
    joint.close_step()
    for rank in range(2):
        for tensor, expected in zip(torch.load(tmp_path / f"{rank}.pt"), joint.tensors(), strict=True):
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
