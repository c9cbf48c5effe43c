"""Noise on the merged weights W' = W + s B A: RWP on all weights, and Flat-LoRA.

One noise draw per optimizer step and one gradient, taken at W' + eps and applied to (A, B). Flat-LoRA (Li et al., ICML
2025, arXiv 2409.14396) scales the noise of a row of W' by that row's norm and lets it grow over the run. RWP is the
plainer baseline of the Bi-LoRA paper (arXiv 2508.19564), which states a variance rho^2 and no more: read as the
variance of every entry, 0.001 is 1.6 times the norm of a Llama matrix, so here it is relative by default.

Noise is drawn inside the forward pass and never written (`bilora.noise`). Flat-LoRA's published code adds it to the
base in place (which drifts), seeds it from the clock, and lets sigma follow micro-batches and the number of processes,
so that it may end below its value; here it follows optimizer steps. Under DoRA, whose magnitudes scale a row of W'
after the noise is added, sigma is relative to the row as scaled.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftConfig
from torch import Tensor, nn

from bilora.merged_rows import merged_row_norms_squared, row_norms_squared
from bilora.methods.options import MethodOptions, nonnegative, one_of, option
from bilora.methods.random_perturbation import NOISE_MODES, PAPER_DEVIATION
from bilora.methods.seeded import SeededMethod
from bilora.methods.window import Window
from bilora.noise import WeightNoise, frozen_linears
from bilora.shards import gathered, local_all, shards
from bilora.weights import LoraWeights, VariantWeights

FLAT_SCHEDULES = ("cosine", "constant")


class MergedNoise(SeededMethod):
    """A method whose one gradient is taken at W' + eps, W' the merged weights; a subclass says how large eps is."""

    perturbs = "W, at random"
    cost_rule = "1, noise drawn twice"
    memory_rule = "two numbers per row of W, and one perturbed matrix at a time"
    refused_on_quantised = (
        "its noise goes onto every entry of the weights, which would have to be dequantised layer by layer in each pass"
    )
    weights: LoraWeights

    def __init__(self, options: MethodOptions | None = None) -> None:
        super().__init__(options)
        self._noisy = ExitStack()
        self._base_squares: list[Tensor] = []

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach, and find the frozen layers under the adapter."""
        attached = super().attach(model, config)
        layers = {layer.name: layer for layer in frozen_linears(attached)}
        self.noise = WeightNoise([layers[f.name] for f in self.weights.factors])
        return attached

    @abstractmethod
    def deviations(self) -> list[Tensor]:
        """Return the standard deviation of the entries of every row of every layer, fp32, shapes (m,)."""

    def row_rms(self) -> list[Tensor]:
        """Return ||W'_i|| / sqrt(n) of every row of every layer at the present weights, shapes (m,)."""
        matrices = [layer.matrix for layer in self.noise.layers]
        squares = self._merged_squares(local_all(matrices))
        # Noise is drawn onto whole matrices, inside passes, so that every rank needs all rows.
        squares = gathered(squares, [len(W) for W in matrices], shards(matrices))
        return [(s / W.shape[1]).sqrt() for s, W in zip(squares, matrices, strict=True)]

    @torch.no_grad()
    def _merged_squares(self, matrices: list[Tensor]) -> list[Tensor]:
        config = self.model.peft_config[self.model.active_adapters[0]]
        if isinstance(self.weights, VariantWeights) and not isinstance(config, LoraConfig):
            # HiRA's and DeLoRA's change is no product of factors and is formed, one layer at a time.
            pairs = zip(matrices, self.weights.layers, strict=True)
            return [row_norms_squared(W + layer.change()) for W, layer in pairs]
        if not self._base_squares:  # not when attached: an initialisation may still change the base
            self._base_squares = [row_norms_squared(W) for W in matrices]
        return merged_row_norms_squared(matrices, self._base_squares, self.weights.factors)

    def before_backward(self, window: Window) -> None:
        """Add noise to every pass until the gradients are complete."""
        self._noisy.enter_context(self.noise.added(self.deviations(), *self.draw_key))

    def refine_gradients(self, window: Window) -> None:
        """Take the noise away."""
        self._noisy.close()
        self.means.add("perturbation_norm", self.noise.norm())

    def abandon_step(self) -> None:
        """Take the noise away."""
        super().abandon_step()
        self._noisy.close()

    def extra_memory(self) -> int:
        """Row norms and deviations of every layer, and the largest matrix."""
        matrices = [layer.matrix for layer in self.noise.layers]
        return sum(2 * 4 * W.shape[0] for W in matrices) + max(W.nbytes for W in matrices)


@dataclass(frozen=True, kw_only=True)
class RwpFullOptions(MethodOptions):
    """Options of RWP on the merged weights."""

    rho: float = option(
        PAPER_DEVIATION, nonnegative, "standard deviation of an entry's noise (paper: variance rho^2 = 0.001 to 0.1)"
    )
    mode: str = option(
        "filter-relative",
        one_of(*NOISE_MODES),
        "rho times the root mean square of the entry's row of W', or rho itself (1.6 ||W|| on a Llama at 0.032)",
    )


class RwpFull(MergedNoise):
    """RWP_full: eps_ij ~ N(0, d^2) on the merged weights, d = rho ||W'_i|| / sqrt(n), or rho itself.

    With `filter-relative` it is Flat-LoRA with a constant sigma = rho.
    """

    name = "rwp-full"
    summary = "Gaussian noise on the merged weights; one gradient a step"
    radius_convention = "standard deviation of each entry of W, relative to its row's root mean square or absolute"
    source = "as defined in arXiv 2508.19564; RWP: Li et al., TMLR 2024, arXiv 2404.00357"
    published_cost = 1.14
    options_class = RwpFullOptions
    options: RwpFullOptions

    def deviations(self) -> list[Tensor]:
        """See `MergedNoise.deviations`."""
        rho = self.options.rho
        if self.options.mode == "filter-relative":
            return list(torch._foreach_mul(self.row_rms(), rho))
        matrices = [layer.matrix for layer in self.noise.layers]
        return [torch.full(W.shape[:1], rho, dtype=torch.float32, device=W.device) for W in matrices]


@dataclass(frozen=True, kw_only=True)
class FlatLoraOptions(MethodOptions):
    """Options of Flat-LoRA."""

    sigma: float = option(
        0.05, nonnegative, "noise of a row relative to its norm, at the end (paper: 0.05; SDXL 0.1, CLIP 0.15)"
    )
    schedule: str = option("cosine", one_of(*FLAT_SCHEDULES), "cosine: grow from 0 to sigma over the run; constant")


class FlatLora(MergedNoise):
    """Flat-LoRA: eps_ij ~ N(0, sigma_t^2 ||W'_i||^2 / n), sigma_t = sigma (1 - cos(pi t / T)) / 2, t = 1 .. T.

    Outputs of a row then vary by a share sigma_t of their size, whatever n. The last step has sigma itself.
    """

    name = "flat-lora"
    summary = "Gaussian noise on the merged weights, relative to row norms and growing; one gradient a step"
    radius_convention = "sigma: expected norm of a row's noise over the row's norm, at the end of the schedule"
    source = "Li et al., ICML 2025, arXiv 2409.14396"
    published_cost = 1.22
    options_class = FlatLoraOptions
    options: FlatLoraOptions

    @property
    def sigma(self) -> float:
        """The present sigma_t."""
        if self.options.schedule == "constant":
            return self.options.sigma
        # `progress` counts the steps taken and is asked for first, since it explains a missing total.
        progress = self.progress + 1 / (self.total_steps or 1)
        return self.options.sigma * 0.5 * (1.0 - math.cos(math.pi * min(progress, 1.0)))

    def deviations(self) -> list[Tensor]:
        """See `MergedNoise.deviations`."""
        return list(torch._foreach_mul(self.row_rms(), self.sigma))
