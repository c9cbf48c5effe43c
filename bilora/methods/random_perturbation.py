"""RWP on the LoRA factors: one gradient, taken at randomly moved (A, B) and applied to the clean ones.

The plain random baseline of the Bi-LoRA paper (arXiv 2508.19564), which states a variance rho^2 in {0.001, ..., 0.1}
and no more. It is read as the variance of every entry (`mode="absolute"`); `filter-relative` scales it by the entry's
row, the convention of the same group's RWP (arXiv 2404.00357), but leaves B = 0 where it is. Noise is drawn once per
optimizer step, over all factors in one call. For noise on the merged weights see `bilora.methods.merged_noise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilora.draws import standard_normals
from bilora.methods.options import MethodOptions, nonnegative, one_of, option
from bilora.methods.perturbation import OnePassPerturbation
from bilora.methods.seeded import SeededMethod
from bilora.methods.window import Window
from bilora.shards import local_all

NOISE_MODES = ("absolute", "filter-relative")
# The variance 0.001 is the smallest of the paper's grid, and the one it names (for Qwen).
PAPER_DEVIATION = 0.001**0.5


@dataclass(frozen=True, kw_only=True)
class RwpLoraOptions(MethodOptions):
    """Options of RWP on (A, B)."""

    rho: float = option(
        PAPER_DEVIATION, nonnegative, "standard deviation of an entry's noise (paper: variance rho^2 = 0.001 to 0.1)"
    )
    mode: str = option(
        "absolute", one_of(*NOISE_MODES), "rho itself, or rho times the root mean square of the entry's row"
    )


class RwpLora(SeededMethod, OnePassPerturbation):
    """RWP_LoRA: take the gradient at (A, B) + noise.

    Early in training B is near 0: absolute noise swamps it, relative noise vanishes on it.
    """

    name = "rwp-lora"
    summary = "Gaussian noise on (A, B); one gradient a step"
    perturbs = "(A, B), at random"
    radius_convention = "standard deviation of each entry of A and B, absolute or relative to its row"
    cost_rule = "1"
    memory_rule = "a copy of the factors and their noise"
    source = "as defined in arXiv 2508.19564; RWP: Li et al., TMLR 2024, arXiv 2404.00357"
    published_cost = 1.06
    options_class = RwpLoraOptions
    options: RwpLoraOptions

    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float]:
        """See `OnePassPerturbation.perturbation`."""
        parameters = self.weights.parameters
        noise = standard_normals(parameters, *self.draw_key)
        if self.options.mode == "filter-relative":
            torch._foreach_mul_(noise, [_row_rms(p) for p in local_all(parameters)])
        return parameters, noise, self.options.rho

    def extra_memory(self) -> int:
        """Copy and noise of every factor."""
        return 2 * sum(p.nbytes for p in self.weights.parameters)


def _row_rms(weight: Tensor) -> Tensor:
    """Root mean square over all but the first dimension; over all entries of a vector."""
    dims = tuple(range(1, weight.dim())) or (0,)
    return weight.square().mean(dim=dims, keepdim=True).sqrt()
