"""LoRA-oBAR and LoRA-nBAR: SAM's implicit regulariser of scale-invariant problems, made explicit at no extra pass.

Li, Zhang, He, "Implicit Regularization of Sharpness-Aware Minimization for Scale-Invariant Problems" (NeurIPS 2024,
arXiv 2410.14802) show that SAM drives the two factors of a product towards equal norms, and put that drive into the
step itself: in front of the optimizer's step each layer's factors are multiplied by 1 - a h and 1 + a h, with the
learning rate h and a coefficient a, as decoupled weight decay would be. Nothing is perturbed, so there is no radius.
The test compares scalar Frobenius norms of the two factors, not the r x r matrix B^T B - A A^T that the appendix of
arXiv 2508.19564 writes; the scaling s multiplies the product and plays no part. That paper takes a = 0.25 and leaves
the schedule open.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bilora.devices import beside
from bilora.methods.base import Method
from bilora.methods.options import MethodOptions, nonnegative, one_of, option
from bilora.methods.schedule import SCHEDULES, remaining
from bilora.shards import local_all, local_gradient
from bilora.weights import LoraWeights


@dataclass(frozen=True, kw_only=True)
class BalanceOptions(MethodOptions):
    """Options of LoRA-oBAR and LoRA-nBAR."""

    alpha: float = option(
        0.25,
        nonnegative,
        "coefficient of the rescaling 1 -+ alpha * learning rate (paper: 0.25; LoRA's alpha is another)",
    )
    schedule: str = option(
        "constant", one_of(*SCHEDULES), "how alpha falls to 0 over the run: constant, linear, cosine"
    )


class BalanceMethod(Method):
    """Grows one factor of every layer and shrinks the other; a subclass says which one shrinks."""

    perturbs = "nothing"
    radius_convention = "no radius"
    cost_rule = "1"
    memory_rule = "nothing"
    source = "Li, Zhang, He, NeurIPS 2024, arXiv 2410.14802"
    published_cost = 1.03
    options_class = BalanceOptions
    options: BalanceOptions
    weights: LoraWeights

    @torch.no_grad()
    def before_step(self) -> None:
        """Multiply A and B of every layer by 1 - a h and 1 + a h, or the other way round."""
        factors = self.weights.factors
        rate = self.primary_group["lr"] * self.options.alpha * remaining(self, self.options.schedule)
        A, B = local_all([f.A for f in factors]), local_all([f.B for f in factors])
        norms = [self.weights.norms(A), self.weights.norms(B)]
        shrink_A = self.first_shrinks(*norms)
        growth = torch.where(shrink_A, -rate, rate)  # (layers,), of A
        torch._foreach_mul_(A, beside((1.0 + growth).unbind(), A))
        torch._foreach_mul_(B, beside((1.0 - growth).unbind(), B))
        self.means.add("imbalance", (norms[0].square() - norms[1].square()).abs().mean())

    @abstractmethod
    def first_shrinks(self, norms_A: Tensor, norms_B: Tensor) -> Tensor:
        """Return for each layer whether A is the factor to shrink: a boolean tensor (layers,).

        Args:
            norms_A: Frobenius norms of every layer's A, fp32, shape (layers,).
            norms_B: The same of B.
        """


class LoraObar(BalanceMethod):
    """oBAR: shrink the factor of larger norm and grow the other, which lowers | ||A||^2 - ||B||^2 |."""

    name = "lora-obar"
    summary = "per layer, shrink the factor of larger norm and grow the other; one gradient a step"

    def first_shrinks(self, norms_A: Tensor, norms_B: Tensor) -> Tensor:
        """See `BalanceMethod.first_shrinks`; on a tie A shrinks."""
        return norms_A >= norms_B


class LoraNbar(BalanceMethod):
    """nBAR: grow the factor whose gradient is larger and shrink the other, as SAM's flow does at small steps."""

    name = "lora-nbar"
    summary = "per layer, grow the factor of larger gradient and shrink the other; one gradient a step"

    def first_shrinks(self, norms_A: Tensor, norms_B: Tensor) -> Tensor:
        """See `BalanceMethod.first_shrinks`; gradients of the whole effective batch, not clipped; on a tie A grows."""
        factors = self.weights.factors
        of_A, of_B = [local_gradient(f.A) for f in factors], [local_gradient(f.B) for f in factors]
        return self.weights.norms(of_A) < self.weights.norms(of_B)
