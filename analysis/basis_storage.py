"""Where the vectors of a Krylov basis lie: on their device or in host memory, in their own type or a narrower one.

A basis vector of seven billion parameters takes 28 GB in float32, so a basis of five does not fit beside the model.
Rows of one matrix per block are allocated once. They are read in strips of bounded width, widened to at least
float32 strip by strip, and strips from host memory are copied while the previous one is computed with. Host rows are
registered with CUDA as they are, since PyTorch's own pinned memory rounds every block up to a power of two.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from analysis.errors import SettingsError
from analysis.vectors import Vector, working_dtype

StorageName = Literal["device", "host"]

# Entries of a strip: on the CPU its rows should stay in cache, on an accelerator a kernel should be worth its launch.
_CPU_STRIP = 2**18
_DEVICE_STRIP = 2**22


@dataclass(frozen=True)
class Strip:
    """A range of entries of one block.

    Attributes:
        block: Index of the block.
        entries: Range inside the flattened block.
        rows: (count, width), in the working type, on the block's device; a view where nothing had to be converted.
    """

    block: int
    entries: slice
    rows: Tensor


def check_storage(storage: str, dtype: torch.dtype | None) -> None:
    """Refuse an unknown place, and a type in which the entries of a long unit vector underflow.

    Raises:
        SettingsError: Names the argument.
    """
    if storage not in get_args(StorageName):
        raise SettingsError(f"basis_storage is {storage!r}; expected one of {', '.join(get_args(StorageName))}")
    if dtype not in (None, torch.bfloat16):
        raise SettingsError(f"basis_dtype is {dtype}; expected None (as the products) or torch.bfloat16")


class BasisStorage:
    """`capacity` vectors, held as rows.

    Args:
        like: A vector that gives shapes, types and devices.
        capacity: Number of rows; all are allocated at once.
        storage: "device" keeps rows where `like` is, "host" in host memory (pinned, if `like` is on CUDA).
        dtype: Type of the rows; None for the working type of `like`.
    """

    def __init__(
        self,
        like: Sequence[Tensor],
        capacity: int,
        *,
        storage: StorageName = "device",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_storage(storage, dtype)
        self._shapes = [block.shape for block in like]
        self._types = [working_dtype(block.dtype) for block in like]
        self._devices = [block.device for block in like]
        self._rows = [
            torch.empty(
                (capacity, block.numel()),
                dtype=dtype or working,
                device="cpu" if storage == "host" else block.device,
            )
            for block, working in zip(like, self._types, strict=True)
        ]
        if storage == "host" and any(device.type == "cuda" for device in self._devices):
            self._unpin = weakref.finalize(self, _unregister, _register(self._rows))

    def write(self, row: int, vector: Sequence[Tensor], length: float) -> None:
        """Store vector / length as one row, rounded to the rows' type."""
        for rows, block in zip(self._rows, vector, strict=True):
            flat = block.reshape(-1)
            for entries in _ranges(len(flat), block.device):
                rows[row, entries].copy_(flat[entries] / length)

    def read(self, row: int) -> Vector:
        """Return one row in the rows' type on the blocks' devices: views where it lies there, else copies."""
        return [
            rows[row].to(device).view(shape)
            for rows, device, shape in zip(self._rows, self._devices, self._shapes, strict=True)
        ]

    def zeros(self) -> Vector:
        """Return a zero vector in the working type."""
        return [
            torch.zeros(shape, dtype=working, device=device)
            for shape, working, device in zip(self._shapes, self._types, self._devices, strict=True)
        ]

    def strips(self, count: int) -> Iterator[Strip]:
        """Go once through the first `count` rows of all blocks; a strip is valid until the next one is taken."""
        for device in dict.fromkeys(self._devices):
            pieces = [
                (index, entries)
                for index, rows in enumerate(self._rows)
                if self._devices[index] == device
                for entries in _ranges(rows.shape[1], device)
            ]
            if not pieces or self._rows[pieces[0][0]].device == device:
                for index, entries in pieces:
                    yield Strip(index, entries, self._rows[index][:count, entries].to(self._types[index]))
            else:
                yield from self._staged(pieces, count, device)

    def overwrite(self, strip: Strip, rows: Tensor) -> None:
        """Replace the leading rows of a strip, rounded to the rows' type."""
        for row, values in enumerate(rows):
            self._rows[strip.block][row, strip.entries].copy_(values)

    def _staged(self, pieces: list[tuple[int, slice]], count: int, device: torch.device) -> Iterator[Strip]:
        """Copy strips from the host through two buffers on a stream of their own, one strip ahead of their use."""
        compute = torch.cuda.current_stream(device)
        copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        widest = max(entries.stop - entries.start for _, entries in pieces)
        narrow = self._rows[pieces[0][0]].dtype
        buffers = [torch.empty((count, widest), dtype=narrow, device=device) for _ in range(2)]
        # The buffers' memory may still be read by kernels that were launched before.
        copies.wait_stream(compute)
        freed: list[torch.cuda.Event | None] = [None, None]

        def fetch(turn: int) -> torch.cuda.Event:
            index, entries = pieces[turn]
            before = freed[turn % 2]
            with torch.cuda.stream(copies):
                if before is not None:
                    copies.wait_event(before)
                for row in range(count):
                    target = buffers[turn % 2][row, : entries.stop - entries.start]
                    target.copy_(self._rows[index][row, entries], non_blocking=True)
                event: torch.cuda.Event = copies.record_event()
                return event

        loaded = fetch(0)
        for turn, (index, entries) in enumerate(pieces):
            here = loaded
            if turn + 1 < len(pieces):
                loaded = fetch(turn + 1)
            compute.wait_event(here)
            rows = buffers[turn % 2][:, : entries.stop - entries.start]
            yield Strip(index, entries, rows.to(self._types[index]))
            freed[turn % 2] = compute.record_event()


def _ranges(length: int, device: torch.device) -> Iterator[slice]:
    width = _CPU_STRIP if device.type == "cpu" else _DEVICE_STRIP
    for start in range(0, length, width):
        yield slice(start, min(start + width, length))


def _register(blocks: Sequence[Tensor]) -> list[int]:
    """Pin tensors in place and return their addresses; a block that cannot be pinned is copied more slowly."""
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]

    def register(block: Tensor) -> int:
        block.zero_()  # pages are handed out here, by many threads, instead of one by one under the driver's lock
        status = runtime.cudaHostRegister(block.data_ptr(), block.nbytes, 0)
        return block.data_ptr() if int(status) == 0 else 0

    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads() // 2)) as pool:
        return [address for address in pool.map(register, blocks) if address]


def _unregister(addresses: Sequence[int]) -> None:
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    for address in addresses:
        runtime.cudaHostUnregister(address)
