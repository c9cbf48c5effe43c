"""Random numbers that belong to a run, and to nobody else.

A method that drew from torch's global generator would change data order and dropout of the run, and could not be
compared with LoRA on the same data; one that seeded itself from the clock (as published codes do) could not be
repeated. Here every draw has a key of whole numbers (run seed, optimizer step, layer, ...) and a generator made
from it: the same key gives the same numbers again, in whatever order draws are made, and a generator never has to be
saved. Numbers differ between CPU and CUDA, as all of torch's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from bilora.adapters import groups_of


def seed_of(*key: int) -> int:
    """Return a number in [0, 2^64) that looks random and is a function of `key`."""
    # Sums of the key's parts would give step 1 of layer 0 the noise of step 0 of layer 1.
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def keyed_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """Return a new generator on `device` whose stream is a function of `key` alone."""
    return torch.Generator(device).manual_seed(seed_of(*key))


def standard_normals(like: Sequence[Tensor], *key: int) -> list[Tensor]:
    """Return independent N(0, 1) tensors with the shapes, dtypes and devices of `like`.

    All tensors on a device come from one call, so that the cost does not grow with their number.
    """
    drawn: dict[int, Tensor] = {}
    for number, indices in enumerate(groups_of(tensor.device for tensor in like)):
        device, sizes = like[indices[0]].device, [like[i].numel() for i in indices]
        flat = torch.randn(sum(sizes), device=device, generator=keyed_generator(device, *key, number))
        for i, part in zip(indices, torch.split(flat, sizes), strict=True):
            drawn[i] = part.view(like[i].shape).to(like[i].dtype)
    return [drawn[index] for index in range(len(like))]
