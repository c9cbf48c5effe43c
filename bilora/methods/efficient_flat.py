"""EFlat-LoRA (later renamed EFMLoRA): a full-space SAM direction, estimated from LoRA gradients and moved into B.

Deng et al. (arXiv 2508.00522) estimate the gradient G of a merged weight from those of its factors,

    g = ( (1/s) g_B (A^T)^+ + (1/s) (B^T)^+ g_A ) / 2 = ( G P_Row(A) + P_Col(B) G ) / 2,

perturb along E_W = rho g / ||g||, written as a move of B alone, E_B = (1/s) E_W A^+, and save the second pass by a
moving average of E_B, at which all gradients are taken. The printed rule has sign(g) g / ||g||, which is |g| / ||g||
and no ascent direction; this is g / ||g||. The identity above holds at the point where the gradients were taken, so
the pseudo-inverse is of the perturbed B. What reaches the weights is E_W P_Row(A), of norm at most rho. All this
speaks of plain LoRA factors; variants whose weight change is no product s B A are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.devices import beside, together
from bilora.effective import precise
from bilora.factor_norms import gram_norms_squared, groups_of
from bilora.factors import LoraFactors
from bilora.methods.carried import CarriedVector
from bilora.methods.options import MethodError, MethodOptions, between, nonnegative, one_of, option
from bilora.methods.perturbation import OnePassPerturbation
from bilora.methods.sam import scale_to
from bilora.methods.schedule import SCHEDULES, remaining
from bilora.methods.window import Window
from bilora.shards import local_all, local_gradient, shards, summed, whole_all
from bilora.weights import LoraWeights, VariantWeights

# Singular values below about 1e-3 of the root mean square are damped in a pseudo-inverse from an fp32 Gram matrix:
# the Gram matrix knows no smaller ones.
_DAMPING = 1e-6


@dataclass(frozen=True, kw_only=True)
class EflatOptions(MethodOptions):
    """Options of EFlat-LoRA."""

    rho: float = option(0.05, nonnegative, "radius of E_W, in weight space (published: 0.05 or 0.2)")
    radius_scope: str = option(
        "per-layer",
        one_of("per-layer", "global"),
        "per-layer: ||E_W||_F = rho in each of N layers, as published (rho sqrt(N) in all); global: in all together",
    )
    beta: float = option(0.9, between(0.0, 1.0, low_allowed=False), "weight of the new term in the moving average")
    rho_schedule: str = option("constant", one_of(*SCHEDULES), "how rho falls to 0 over the run")


class EflatLora(OnePassPerturbation):
    """EFlat-LoRA: take the gradient at B + mean of past E_B; the first step is LoRA's."""

    name = "eflat-lora"
    summary = "B moves along a moving average of the estimated full-space ascent; one gradient a step"
    perturbs = "B (inside Row(A))"
    radius_convention = "||E_W||_F of each layer (option: of all), before it is projected onto Row(A)"
    cost_rule = "1"
    memory_rule = "the moving average and a copy of B"
    source = "Deng et al., arXiv 2508.00522"
    options_class = EflatOptions
    options: EflatOptions
    weights: LoraWeights

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """See `Method.attach`; the moving average starts empty.

        Raises:
            MethodError: If the adapter's weight change is no product s B A.
        """
        attached = super().attach(model, config)
        if isinstance(self.weights, VariantWeights):
            raise MethodError(
                "method 'eflat-lora' estimates the gradient from the factors of plain LoRA; DoRA, HiRA and DeLoRA have "
                "other formulas: use plain LoRA (PiSSA, LoRA-GA) or another method"
            )
        self._average = CarriedVector("average", lambda: self._targets)
        return attached

    @property
    def _targets(self) -> list[nn.Parameter]:
        return [f.B for f in self.weights.factors]

    def before_backward(self, window: Window) -> None:
        """See `OnePassPerturbation.before_backward`."""
        window.require_true_gradients("EFlat-LoRA keeps ascent directions from one step to the next")
        super().before_backward(window)

    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float] | None:
        """See `OnePassPerturbation.perturbation`."""
        return (self._targets, self._average.of(self._targets), 1.0) if len(self._average) else None

    def observe(self) -> None:
        """Move the average towards the E_B of this step's gradient."""
        targets, values = self._targets, local_all(self._targets)
        started = len(self._average) > 0
        points = [B + move for B, move in zip(values, self._average.of(targets), strict=True)] if started else values
        rho = self.options.rho * remaining(self, self.options.rho_schedule)
        per_layer = self.options.radius_scope == "per-layer"
        new = ascent_in_b(self.weights.factors, points, rho=rho, per_layer=per_layer)
        if started:
            torch._foreach_lerp_(self._average.of(targets), new, self.options.beta)
        else:
            self._average.store(targets, new)

    def extra_memory(self) -> int:
        """Average and copy of every B."""
        return 2 * sum(p.nbytes for p in self._targets)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the moving average."""
        return super().state_dict() | self._average.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self._average.load_state_dict(state)


def ascent_in_b(
    factors: Sequence[LoraFactors], points: Sequence[Tensor], *, rho: float, per_layer: bool
) -> list[Tensor]:
    """Return E_B = (1/s) E_W A^+ of every layer, with E_W = rho g / ||g|| for the estimate g of the full gradient.

    With X = (1/s) g_B (A A^T)^-1 and Y = (1/s) (B^T B)^+ g_A the estimate is g = (X A + B Y) / 2; it is never formed:
    its norm comes from Gram matrices, and g A^+ = (X + B (Y A^T) (A A^T)^-1) / 2. Of sharded factors A and its gradient
    are gathered; the rows of B and X stay, and B^T B and the norm are summed over the ranks.

    Args:
        factors: The layers, with gradients in `A.grad` and `B.grad`.
        points: For each layer the B (m, r) at which the gradients were taken; of a sharded one the rows that are here.
        rho: Radius.
        per_layer: Whether ||E_W||_F = rho in each layer, rather than over all of them.
    """
    squares: dict[int, Tensor] = {}
    moves: dict[int, Tensor] = {}
    first = [f.A for f in factors]
    group = shards(first)
    whole_A, whole_g_A = whole_all(first), whole_all(first, [local_gradient(A) for A in first])
    for indices in groups_of((f.A.shape, f.B.shape, f.scaling, f.A.device) for f in factors):
        scaling = factors[indices[0]].scaling
        A, B = _stacked([whole_A[i] for i in indices]), _stacked([points[i] for i in indices])  # (layers, r, n), (m, r)
        g_A = _stacked([whole_g_A[i] for i in indices])
        g_B = _stacked([local_gradient(factors[i].B) for i in indices])
        inverse_A = _inverse(A @ A.mT)
        X, Y = g_B @ inverse_A / scaling, _inverse(summed(B.mT @ B, group)) @ g_A / scaling
        norms = gram_norms_squared(torch.cat([A, Y], dim=1), torch.cat([X, B], dim=2)) / 4
        found = (X + B @ (Y @ A.mT @ inverse_A)) / (2 * scaling)
        squares.update(zip(indices, norms.unbind(), strict=True))
        moves.update(zip(indices, found.unbind(), strict=True))
    ordered = [moves[i] for i in range(len(factors))]
    joint = summed(together([squares[i] for i in range(len(factors))]), group)
    norms = joint.sqrt() if per_layer else joint.sum().sqrt().expand(len(factors))
    return list(torch._foreach_mul(ordered, beside(scale_to(rho, norms).unbind(), ordered)))


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return precise(torch.stack([t.detach() for t in tensors]))


def _inverse(gram: Tensor) -> Tensor:
    """Inverses of Gram matrices (layers, r, r), damped; of a zero matrix a large multiple of the identity."""
    damping = (gram.diagonal(dim1=1, dim2=2).mean(dim=1) * _DAMPING).clamp_min(torch.finfo(gram.dtype).tiny ** 0.5)
    damped = gram + torch.diag_embed(damping[:, None].expand(gram.shape[:2]))
    # inv_ex does not make the host wait to learn whether a matrix was singular; a damped one is not.
    inverse: Tensor = torch.linalg.inv_ex(damped).inverse
    return inverse
