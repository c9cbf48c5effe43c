"""ROP: Gaussian noise on the logits in place of the weights.

The simplest baseline of the Bi-LoRA paper (arXiv 2508.19564): y~ = y + e with e ~ N(0, rho^2 I) in front of the loss.
Whoever drives a method computes the loss inside the model, so the noise is added to the output of the module that
makes the logits: the output embeddings of a language model or the head of a classifier, or the module that the
option `head` names. Nothing in weight space is perturbed, so no norm is logged. What a model does to its logits
afterwards (a soft cap, say) comes after the noise.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import Tensor, nn

from bilora.draws import normals
from bilora.methods.options import MethodError, MethodOptions, nearest, nonnegative, option, optional
from bilora.methods.random_perturbation import PAPER_DEVIATION
from bilora.methods.seeded import SeededMethod
from bilora.methods.window import Window
from bilora.ranks import rank, world_size

# What the classes of transformers call the module that makes their logits.
CLASSIFIER_HEADS = ("score", "classifier", "classification_head", "qa_outputs")


def _module_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the name of a module")
    return value


@dataclass(frozen=True, kw_only=True)
class RopOptions(MethodOptions):
    """Options of ROP."""

    rho: float = option(
        PAPER_DEVIATION, nonnegative, "standard deviation of a logit's noise (paper: variance rho^2 = 0.001 to 0.1)"
    )
    head: str | None = option(
        None, optional(_module_name), "module whose output are the logits; none: the model's output embeddings or head"
    )


class Rop(SeededMethod):
    """ROP: y + e in front of the loss, e ~ N(0, rho^2 I) drawn anew for every micro-batch."""

    name = "rop"
    summary = "Gaussian noise on the logits; one gradient a step"
    perturbs = "the logits"
    radius_convention = "standard deviation of a logit's noise"
    cost_rule = "1"
    memory_rule = "noise of the logits' shape"
    source = "as defined in arXiv 2508.19564"
    published_cost = 1.02
    options_class = RopOptions
    options: RopOptions

    def __init__(self, options: MethodOptions | None = None) -> None:
        super().__init__(options)
        self._noisy = ExitStack()
        self._drawn = 0
        self._most_bytes = 0

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach, and find the module that makes the logits.

        Raises:
            MethodError: If there is none by that name, or none that can be found without a name.
        """
        attached = super().attach(model, config)
        self.head = logits_module(attached, self.options.head)
        return attached

    def before_backward(self, window: Window) -> None:
        """Add noise to the logits until the gradients are complete."""
        self._drawn = 0
        handle = self.head.register_forward_hook(self._add_noise)
        self._noisy.callback(handle.remove)

    def _add_noise(self, module: nn.Module, inputs: Any, logits: Any) -> Tensor:
        if not isinstance(logits, Tensor):
            raise MethodError(
                f"method 'rop': the output of {type(module).__name__} should be the logits, a tensor, and is a "
                f"{type(logits).__name__}; name another module with the option head"
            )
        # Keyed by the number of the pass, since there is one for each micro-batch; ranks take them in turn, so that
        # as many micro-batches get the same noise however many ranks there are.
        number = self._drawn * world_size() + rank()
        noise = normals(logits.shape, *self.draw_key, number, device=logits.device, dtype=logits.dtype)
        self._drawn += 1
        self._most_bytes = max(self._most_bytes, noise.nbytes)
        return torch.add(logits, noise, alpha=self.options.rho)

    def refine_gradients(self, window: Window) -> None:
        """Take the noise away.

        Raises:
            MethodError: If no logits came by, so that this would have been plain LoRA.
        """
        self._noisy.close()
        if not self._drawn:
            raise MethodError(
                f"method 'rop': the module that makes the logits ({type(self.head).__name__}) did not run in this "
                "step; name the one that did with the option head"
            )

    def abandon_step(self) -> None:
        """Take the noise away."""
        super().abandon_step()
        self._noisy.close()

    def extra_memory(self) -> int:
        """The largest noise drawn so far."""
        return self._most_bytes

    def state_dict(self) -> dict[str, Tensor]:
        """See `Method.state_dict`; what was the most so far is so in a resumed run too."""
        return super().state_dict() | {"most_bytes": torch.tensor(self._most_bytes)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        # Checkpoints from before this was kept do without.
        self._most_bytes = int(state.get("most_bytes", 0))


def logits_module(model: nn.Module, name: str | None = None) -> nn.Module:
    """Return the module whose output are the logits.

    Args:
        model: A model of transformers, plain or in PEFT's wrapper, or any module if `name` is given.
        name: Name of the module inside the plain model.

    Raises:
        MethodError: If there is no such module; with the nearest name, or with the way out.
    """
    base: nn.Module = model.get_base_model() if isinstance(model, PeftModel) else model
    modules: dict[str, nn.Module] = dict(base.named_modules())
    if name is not None:
        if name not in modules:
            kind, near = type(base).__name__, nearest(name, modules)
            raise MethodError(f"method 'rop': {kind} has no module {name!r} for the option head{near}")
        return modules[name]
    output_embeddings = getattr(base, "get_output_embeddings", lambda: None)()
    if isinstance(output_embeddings, nn.Module):
        return output_embeddings
    for candidate in CLASSIFIER_HEADS:
        if candidate in modules:
            return modules[candidate]
    raise MethodError(
        f"method 'rop' adds noise to the logits and cannot tell which module of {type(base).__name__} makes them; "
        "name it with the option head=NAME"
    )
