"""The noise schedule: how a picture is noised, what is predicted, and how a picture is sampled.

    z_t = sqrt(a_t) x + sqrt(1 - a_t) e,        v_t = sqrt(a_t) e - sqrt(1 - a_t) x

with a_t the cumulated signal share of step t. The network predicts v (Salimans and Ho 2022, arXiv 2202.00512), the
schedule is the cosine of Nichol and Dhariwal (2021, arXiv 2102.09672) rescaled to end in pure noise, and sampling
starts at that end (Lin et al. 2023, arXiv 2305.08891): few steps suffice, and there is no noise to guess the picture's
brightness from. Sampling is DDIM's without fresh noise (Song et al. 2021, arXiv 2010.02502): a function of the first
noise alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 1000


def signal_shares() -> Tensor:
    """Return a_t of all steps, float32 (STEPS,); the last one is zero."""
    times = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
    cosine = torch.cos((times + 0.008) / 1.008 * torch.pi / 2) ** 2
    betas = (1 - cosine[1:] / cosine[:-1]).clamp(max=0.999)
    roots = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    roots = (roots - last) * first / (first - last)
    return (roots**2).float()


def _weights(shares: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    share = shares[steps].view(-1, 1, 1, 1)
    return share.sqrt(), (1 - share).sqrt()


def noised(clean: Tensor, noise: Tensor, steps: Tensor, shares: Tensor) -> Tensor:
    """Return z_t of clean pictures x and noise e, both (rows, channels, side, side), at steps (rows,)."""
    signal, spread = _weights(shares, steps)
    return signal * clean + spread * noise


def velocity(clean: Tensor, noise: Tensor, steps: Tensor, shares: Tensor) -> Tensor:
    """Return v_t, what the network is to predict; shapes as in `noised`."""
    signal, spread = _weights(shares, steps)
    return signal * noise - spread * clean


def sampling_steps(count: int) -> list[int]:
    """Return `count` steps spread evenly from the last one down, which is always among them."""
    return [round(STEPS * (count - index) / count) - 1 for index in range(count)]


def sample(predict: Callable[[Tensor, int], Tensor], noise: Tensor, *, count: int, shares: Tensor) -> Tensor:
    """Denoise pictures by DDIM without fresh noise.

    Args:
        predict: `predict(z, step)` -> v, of z's shape.
        noise: The start, (rows, channels, side, side).
        count: Steps to take.
        shares: a_t, see `signal_shares`.

    Returns:
        The pictures, each value within [-1, 1].
    """
    steps = sampling_steps(count)
    current = clean = noise
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        share = shares[step]
        signal, spread = share.sqrt(), (1 - share).sqrt()
        v = predict(current, step)
        clean = (signal * current - spread * v).clamp(-1, 1)
        if following is None:
            break
        # What the clipped picture leaves of z; at pure noise z itself.
        noise = (current - signal * clean) / spread
        current = shares[following].sqrt() * clean + (1 - shares[following]).sqrt() * noise
    return clean
