"""What a Lanczos run holds at its peak, counted in vectors of the space."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis import eigenvalues, vectors


class PeakBytes(TorchDispatchMode):
    """Follows every tensor that an operation returns, and remembers how much lived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self._alive += [weakref.ref(leaf) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self._alive = [reference for reference in self._alive if reference() is not None]
        storages = [tensor.untyped_storage() for reference in self._alive if (tensor := reference()) is not None]
        self.peak = max(self.peak, sum({s.data_ptr(): s.nbytes() for s in storages}.values()))
        return result


class Ramp:
    """A diagonal matrix on forty blocks; a product is one new vector."""

    symmetric = True
    products = 0

    def __init__(self, size: int) -> None:
        self.dimension = size
        self.blocks = list(torch.linspace(-1.0, 1.0, size).split(size // 40))

    def matvec(self, vector):
        return [block * part for block, part in zip(self.blocks, vector, strict=True)]

    def random_direction(self, *, seed, stream):
        return vectors.random(self.blocks, [str(index) for index in range(40)], seed=seed, stream=stream)


@pytest.mark.parametrize(
    ("size", "basis_size", "dtype", "row"),
    [(4_000, 5, None, 1.0), (8_000, 5, None, 1.0), (4_000, 12, None, 1.0), (4_000, 12, torch.bfloat16, 0.5)],
)
def test_the_peak_is_the_basis_and_one_product(size, basis_size, dtype, row) -> None:
    operator = Ramp(size)
    with PeakBytes() as counted:
        found = eigenvalues(
            operator, top=1, bottom=1, tolerance=1e-12, basis_size=basis_size, basis_dtype=dtype, max_products=24
        )
    assert found.restarts > 1
    held = counted.peak / (4 * size)
    # Two strips of all rows, each here a fortieth of a vector wide, come on top.
    assert basis_size * row + 1.0 <= held <= basis_size * row + 1.1 + basis_size / 20
