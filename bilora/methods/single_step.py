"""S2-SAM and MSAM: sharpness-aware steps over (A, B) that cost one gradient, since the direction is an old one.

S2-SAM (Ji et al., NeurIPS 2024) climbs along the gradient of the step before. MSAM (Becker, Altrock, Risse, arXiv
2401.12033) moves along the momentum that the optimizer keeps anyway. Of the equal-cost relatives of Bi-LoRA, MSAM is
here rather than AsyncSAM (arXiv 2503.11147): AsyncSAM's stale gradient is one at unperturbed weights, which needs a
second pass that only a second device can hide; on one device, without that pass, it is S2-SAM.

The published S2-SAM code does nothing under torch 2 (it skips parameters without a gradient right after gradients
were dropped), and with its adaptive switch, on in the published script, reads the gradient where it means the weight;
`rule="published-adaptive"` reproduces the latter. MSAM's published move is against the momentum, a look ahead as in
Nesterov's method, which climbs only where its radius (15 times SAM's) leads across the valley;
`direction="ascent"` turns it into the averaged stale ascent that SAM's first-order theory asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from bilora.methods.carried import CarriedVector
from bilora.methods.options import MethodError, MethodOptions, nonnegative, one_of, option
from bilora.methods.perturbation import OnePassPerturbation
from bilora.methods.sam import scale_to
from bilora.methods.window import Window
from bilora.shards import local, local_all

S2SAM_RULES = ("gradient", "published-adaptive")
MSAM_DIRECTIONS = ("lookahead", "ascent")
# Where torch's optimizers keep the momentum of a parameter: Adam's family, SGD's.
_MOMENTA = ("exp_avg", "momentum_buffer")


@dataclass(frozen=True, kw_only=True)
class S2SamOptions(MethodOptions):
    """Options of S2-SAM."""

    rho: float = option(0.05, nonnegative, "radius: L2 norm of the step over all A and B (published: 0.05)")
    rule: str = option(
        "gradient",
        one_of(*S2SAM_RULES),
        "gradient: rho h / ||h||; published-adaptive: rho h^3 / || |w'| h ||, the code's slip, whose norm is not rho",
    )


class S2Sam(OnePassPerturbation):
    """S2-SAM: take the gradient at (A, B) + rho h / ||h||, h the gradient of the step before; the first step is LoRA's.

    h is the gradient of the whole effective batch, before any clipping, taken at the perturbed point of its own step.
    """

    name = "s2sam"
    summary = "climb along the gradient of the step before; one gradient a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "1"
    memory_rule = "the last gradient and a copy of the factors"
    source = "Ji et al., NeurIPS 2024, OpenReview MJgMMqMDu4"
    options_class = S2SamOptions
    options: S2SamOptions

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """See `Method.attach`; there is no gradient yet."""
        attached = super().attach(model, config)
        self._gradient = CarriedVector("gradient", lambda: self.weights.parameters)
        #: The weights at which the gradient was taken; only the published adaptive rule wants them.
        self._point = CarriedVector("point", lambda: self.weights.parameters)
        return attached

    def before_backward(self, window: Window) -> None:
        """See `OnePassPerturbation.before_backward`."""
        window.require_true_gradients("S2-SAM keeps gradients from one step to the next")
        super().before_backward(window)

    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float] | None:
        """See `OnePassPerturbation.perturbation`."""
        if not len(self._gradient):
            return None
        parameters = self.weights.parameters
        direction = self._gradient.of(parameters)
        if self.options.rule == "gradient":
            return parameters, direction, scale_to(self.options.rho, self.weights.norm(direction))
        weighted = torch._foreach_mul(list(torch._foreach_abs(self._point.of(parameters))), direction)
        scale = scale_to(self.options.rho, self.weights.norm(weighted))
        return parameters, list(torch._foreach_pow(direction, 3)), scale

    def refine_gradients(self, window: Window) -> None:
        """Note the point at which the gradient was taken if the rule asks for it; restore; keep the gradient."""
        if self.options.rule == "published-adaptive":
            self._point.store(self.weights.parameters, [p.clone() for p in local_all(self.weights.parameters)])
        super().refine_gradients(window)

    def observe(self) -> None:
        """Keep a copy of the gradient: the optimizer will clip `.grad` in place."""
        reached = [(p, local(p.grad).clone()) for p in self.weights.parameters if p.grad is not None]
        self._gradient.clear()
        self._gradient.store([p for p, _ in reached], [g for _, g in reached])

    def extra_memory(self) -> int:
        """Last gradient and copy of every factor; with the published adaptive rule also the last point."""
        copies = 2 if self.options.rule == "gradient" else 3
        return copies * sum(p.nbytes for p in self.weights.parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """Return h, and the point at which it was taken if the rule asks for it."""
        return super().state_dict() | self._gradient.state_dict() | self._point.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self._gradient.load_state_dict(state)
        self._point.load_state_dict(state)


@dataclass(frozen=True, kw_only=True)
class MsamOptions(MethodOptions):
    """Options of MSAM."""

    rho: float = option(
        0.15, nonnegative, "radius: L2 norm of the step over all A and B (published: 15 times SAM's, here 15 x 0.01)"
    )
    direction: str = option(
        "lookahead", one_of(*MSAM_DIRECTIONS), "lookahead: against the momentum, as published; ascent: along it"
    )


class Msam(OnePassPerturbation):
    """MSAM: take the gradient at (A, B) - rho v / ||v||, v the optimizer's momentum (a mean of gradients)."""

    name = "msam"
    summary = "move along the optimizer's momentum; one gradient a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "1"
    memory_rule = "a copy of the factors"
    source = "Becker, Altrock, Risse, arXiv 2401.12033"
    options_class = MsamOptions
    options: MsamOptions

    def bind(self, optimizer: Optimizer, *, total_steps: int | None = None) -> None:
        """See `Method.bind`.

        Raises:
            MethodError: If the optimizer keeps no momentum.
        """
        if "betas" not in optimizer.defaults and not optimizer.defaults.get("momentum"):
            raise MethodError(
                f"method 'msam' moves along the optimizer's momentum and {type(optimizer).__name__} keeps none here; "
                "use AdamW, or SGD with momentum > 0"
            )
        super().bind(optimizer, total_steps=total_steps)

    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float] | None:
        """See `OnePassPerturbation.perturbation`; the first step has no momentum yet."""
        states = {} if self._optimizer is None else self._optimizer.state
        started = [(p, states[p]) for p in self.weights.parameters if p in states]
        if not started:
            return None
        momenta = [local(_momentum(state)) for _, state in started]
        sign = 1.0 if self.options.direction == "ascent" else -1.0
        return [p for p, _ in started], momenta, sign * scale_to(self.options.rho, self.weights.norm(momenta))

    def extra_memory(self) -> int:
        """Copy of every factor."""
        return sum(p.nbytes for p in self.weights.parameters)


def _momentum(state: dict[str, Tensor]) -> Tensor:
    for key in _MOMENTA:
        if isinstance(state.get(key), Tensor):
            return state[key]
    raise MethodError(
        f"method 'msam' needs the optimizer's momentum ({' or '.join(_MOMENTA)}) and found only {', '.join(state)}; "
        "use an AdamW or SGD of torch (8-bit optimizers keep it packed)"
    )
