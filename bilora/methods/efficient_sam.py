"""SAM at less than two gradients a step: ESAM halves the second one, LookSAM takes it at every k-th step only.

ESAM (Du et al., ICLR 2022, arXiv 2110.03141) perturbs a random part beta of the tensors and takes the second gradient
over the part gamma of the examples whose loss rises most; LookSAM (Liu et al., CVPR 2022, arXiv 2203.02714) keeps
the part of SAM's gradient that is orthogonal to the clean one and adds it to the clean gradients of the steps between.
Here ESAM selects over the whole effective batch, by mean loss per token, and LookSAM decomposes the gradient of all
factors together, as printed and not tensor by tensor as public codes do. Both are SAM, bit for bit, at beta = gamma = 1
and at k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.devices import scale_, scaled
from bilora.draws import keyed_generator
from bilora.methods.carried import CarriedVector
from bilora.methods.options import between, boolean, nonnegative, one_of, option, positive_integer
from bilora.methods.perturbation import perturbed
from bilora.methods.sam import SamOptions, TwoPassSam, present_gradients, scale_to
from bilora.methods.seeded import SeededMethod
from bilora.methods.window import Window

# Norms and inner products over all tensors are fp32 sums, whose relative error stays below this.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class EsamOptions(SamOptions):
    """Options of ESAM."""

    beta: float = option(0.5, between(0, 1, low_allowed=False), "probability with which a tensor is perturbed")
    gamma: float = option(0.5, between(0, 1, low_allowed=False), "part of the examples in the second pass, rounded")
    selection: str = option(
        "rise",
        one_of("rise", "loss"),
        "by which examples are chosen: rise of the loss (ESAM), or the clean loss, which saves a forward pass",
    )
    as_published: bool = option(
        False, boolean, "authors' code: norm over perturbed tensors alone, and int(gamma n) - 1 examples"
    )


class LoraEsam(SeededMethod, TwoPassSam):
    """ESAM over (A, B): eps = (rho / beta) mask * g / ||g||, then the gradient over the sharpest examples alone.

    The mask keeps or drops whole tensors, each with probability beta, at least one being kept; ||g|| is that of all
    of them, so that eps is SAM's in expectation. Of n examples round(gamma n), at least one, are kept: those with the
    largest l(w + eps) - l(w); examples without a scored token come last. The step's gradient is the mean over them.

    Under LoRA a forward pass is about half a step, since backward passes form no gradients of the base, so that the
    rule costs about 1 + 1/2 + gamma steps, at gamma = .5 as many as SAM; `selection="loss"`, which is another rule,
    takes the examples of largest l(w) and costs 1 + gamma.
    """

    # It takes other examples, and other parts of the weights, in every step.
    replayable = False
    name = "lora-esam"
    summary = "SAM on a random half of the tensors, its gradient over the sharpest half of the examples"
    perturbs = "(A, B), a random part beta of the tensors"
    radius_convention = "L2 norm over all (A, B), before tensors are dropped and the others divided by beta"
    cost_rule = "1 + gamma, and 1 forward pass without gradients"
    memory_rule = "a copy of the perturbed factors, and the clean gradients while the second pass runs"
    source = "Du et al., ICLR 2022, arXiv 2110.03141; over (A, B) as in arXiv 2508.19564"
    published_cost = 1.49
    options_class = EsamOptions
    options: EsamOptions
    needs_example_losses: ClassVar[bool] = True

    @torch.no_grad()
    def refine_gradients(self, window: Window) -> None:
        """Climb in some tensors, find the examples that suffer, take their gradient, come back."""
        parameters, gradients = self.reached()
        chosen = self.kept_tensors(len(parameters))
        direction = [gradients[i] for i in chosen]
        norm = self.weights.norm(direction if self.options.as_published else gradients)
        scale = scale_to(self.options.rho / self.options.beta, norm)
        with perturbed(self, [parameters[i] for i in chosen], direction, scale):
            window.replay(self.sharpest(window))

    def kept_tensors(self, count: int) -> list[int]:
        """Return which of `count` tensors are perturbed in this step: those that draw less than beta.

        Where none does, the one with the smallest draw is.
        """
        draws = torch.rand(count, generator=keyed_generator("cpu", *self.draw_key))
        kept: list[int] = (draws < self.options.beta).nonzero().flatten().tolist()
        return kept or [int(draws.argmin())]

    def kept_examples(self, count: int) -> int:
        """Return how many of `count` examples the second pass has."""
        gamma = self.options.gamma
        if gamma == 1:
            return count
        return max(int(gamma * count) - 1 if self.options.as_published else round(gamma * count), 1)

    def sharpest(self, window: Window) -> list[Tensor] | None:
        """Return masks, on the CPU, of the examples whose loss rises most, one per micro-batch; None: all of them."""
        before = window.first_example_losses()
        sizes = [len(losses) for losses in before]
        clean = torch.cat(before)
        everywhere, own = window.joined(clean)
        keep = self.kept_examples(len(everywhere))
        if keep == len(everywhere):
            return None
        rank = clean if self.options.selection == "loss" else torch.cat(window.example_losses()) - clean
        # A loss of exactly 0 is that of an example without scored tokens, over which there would be no mean.
        rank = torch.where(clean == 0, -torch.inf, rank)
        ranked, _ = window.joined(rank)
        kept = torch.zeros_like(ranked, dtype=torch.bool)
        kept[ranked.topk(keep).indices] = True
        return list(torch.split(kept[own].cpu(), sizes))


@dataclass(frozen=True, kw_only=True)
class LookSamOptions(SamOptions):
    """Options of LookSAM."""

    k: int = option(5, positive_integer, "every k-th step is a SAM step (1: SAM)")
    alpha: float = option(0.7, nonnegative, "length of the kept direction in the steps between, relative to ||g||")


class LoraLookSam(TwoPassSam):
    """LookSAM over (A, B): SAM at every k-th step, g + alpha (||g|| / ||g_v||) g_v in between.

    g_v = g~ - (<g, g~> / ||g||^2) g is the part of SAM's gradient g~ that the clean gradient g lacks. What is not
    above rounding counts as 0 (rho = 0 is LoRA). With `sam_scope="micro-batch"` it is that of the latest micro-batch.
    """

    name = "lora-looksam"
    summary = "SAM every k-th step, its orthogonal part reused in between"
    perturbs = "(A, B), every k-th step"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "1 + 1 / k"
    memory_rule = "the reused direction; in SAM steps a copy of the factors and the clean gradients"
    source = "Liu et al., CVPR 2022, arXiv 2203.02714; over (A, B) as in arXiv 2508.19564"
    published_cost = 1.23
    options_class = LookSamOptions
    options: LookSamOptions
    carries_gradients = True

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the adapter; there is no direction yet."""
        attached = super().attach(model, config)
        self.direction = CarriedVector("direction", lambda: self.weights.parameters)
        return attached

    @torch.no_grad()
    def refine_gradients(self, window: Window) -> None:
        """Take a SAM step and its direction, or use the direction again."""
        if self.steps % self.options.k == 0:
            super().refine_gradients(window)
            return
        parameters, gradients = self.reached()
        scale = self.options.alpha * self.weights.norm(gradients)
        torch._foreach_add_(gradients, scaled(self.direction.of(parameters), scale))

    def combine(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        """Keep g_v / ||g_v||; the step's gradient is g~ itself."""
        if self.options.k == 1:
            return
        sharp = present_gradients(parameters)
        across = torch._foreach_sub(sharp, scaled(gradients, self.weights.share_along(sharp, gradients)))
        norm = self.weights.norm(across)
        rounding = max(_ROUNDING, torch.finfo(sharp[0].dtype).eps) * self.weights.norm(sharp)
        scale_(across, scale_to(1.0, norm.where(norm > rounding, torch.zeros_like(norm))))
        self.direction.store(parameters, across)

    def extra_memory(self) -> int:
        """Copy, clean gradient and direction of every factor."""
        return 3 * sum(p.nbytes for p in self.weights.parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the direction as well; the step's place in the cycle is in `steps`."""
        return super().state_dict() | self.direction.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back the direction as well."""
        super().load_state_dict(state)
        self.direction.load_state_dict(state)
