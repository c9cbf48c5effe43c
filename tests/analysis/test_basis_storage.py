from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import SettingsError
from analysis.basis_storage import BasisStorage


def like() -> list[torch.Tensor]:
    """Two blocks, the second longer than one strip."""
    return [torch.zeros(3, 2, dtype=torch.bfloat16), torch.zeros(300_000, dtype=torch.float64)]


def filled(storage: BasisStorage, rows: int) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    written = []
    for row in range(rows):
        vector = [torch.randn(3, 2, generator=generator), torch.randn(300_000, generator=generator).double()]
        storage.write(row, vector, 2.0)
        written.append(vector)
    return written


@pytest.mark.parametrize("place", ["device", "host"])
def test_rows_come_back_as_they_were_written(place) -> None:
    storage = BasisStorage(like(), 3, storage=place)
    written = filled(storage, 3)
    for row, vector in enumerate(written):
        for block, original in zip(storage.read(row), vector, strict=True):
            assert torch.equal(block, original / 2.0)


def test_strips_cover_every_entry_once_in_the_working_type() -> None:
    storage = BasisStorage(like(), 3, dtype=torch.bfloat16)
    written = filled(storage, 3)
    seen = [np.zeros((2, 6)), np.zeros((2, 300_000))]
    counts = [np.zeros(6), np.zeros(300_000)]
    for strip in storage.strips(2):
        assert strip.rows.dtype == (torch.float32 if strip.block == 0 else torch.float64)
        seen[strip.block][:, strip.entries] = strip.rows.numpy()
        counts[strip.block][strip.entries] += 1
    assert all((count == 1).all() for count in counts)
    for block in range(2):
        expected = np.stack([written[row][block].flatten().numpy() / 2.0 for row in range(2)])
        np.testing.assert_allclose(seen[block], expected, rtol=2**-8)
        assert not np.allclose(seen[block], expected, rtol=1e-6, atol=0.0)


def test_overwriting_a_strip_changes_its_leading_rows_alone() -> None:
    storage = BasisStorage(like(), 3)
    written = filled(storage, 3)
    for strip in storage.strips(2):
        storage.overwrite(strip, strip.rows[:1] + strip.rows[1:])
    assert torch.equal(storage.read(0)[1], written[0][1] / 2.0 + written[1][1] / 2.0)
    assert torch.equal(storage.read(1)[1], written[1][1] / 2.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="copies between host and device need a CUDA device")
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_strips_from_pinned_host_memory_are_those_of_the_device(dtype) -> None:
    blocks = [torch.zeros(shape, device="cuda") for shape in ((3, 2), (9_000_001,), (40, 1000))]
    storages = [BasisStorage(blocks, 4, storage=place, dtype=dtype) for place in ("device", "host")]
    generator = torch.Generator("cuda").manual_seed(0)
    for row in range(4):
        vector = [torch.randn(block.shape, generator=generator, device="cuda") for block in blocks]
        for storage in storages:
            storage.write(row, vector, 3.0)
    for _ in range(2):
        for here, there in zip(*(storage.strips(3) for storage in storages), strict=True):
            assert (here.block, here.entries) == (there.block, there.entries)
            assert torch.equal(here.rows, there.rows)
            for strip, storage in zip((here, there), storages, strict=True):
                storage.overwrite(strip, strip.rows.flip(0)[:2])
    for row in range(4):
        for one, two in zip(storages[0].read(row), storages[1].read(row), strict=True):
            assert two.is_cuda
            assert torch.equal(one, two)


def test_unknown_places_and_types_are_refused() -> None:
    with pytest.raises(SettingsError, match="basis_storage is 'disk'; expected one of device, host"):
        BasisStorage(like(), 2, storage="disk")  # type: ignore[arg-type]
    # Entries of a unit vector of 10^9 parameters are subnormal in float16.
    with pytest.raises(SettingsError, match=r"basis_dtype is torch.float16"):
        BasisStorage(like(), 2, dtype=torch.float16)
