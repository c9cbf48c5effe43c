"""Naming what cannot be differentiated as a route needs it, instead of failing obscurely or silently.

Autograd complains about a missing second derivative in several wordings, and for functions marked once_differentiable
not at all when the mark cuts them off from the parameters: a product would then lack their share. Fused attention
libraries bring custom functions of that kind. All of it becomes one error that names operation and way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from analysis.errors import SecondDerivativeError

_BLOCKED = (
    "is not implemented",
    "does not support double backward",
    "not differentiable",
    "does not support it because it has not been implemented yet",
    "You must implement the jvp function",
    "ZeroTensors are immutable",
    "forward-mode AD",
)
_FUSED = ("flash", "flex", "paged")


@contextmanager
def naming_the_operation(route: str) -> Iterator[None]:
    """Turn autograd's complaint about a missing derivative into one that names operation, route and way out."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        text = str(error)
        if not any(phrase in text for phrase in _BLOCKED):
            raise
        named = re.search(r"(aten::\w+)", text) or re.search(r"forward AD with (\w+)", text)
        operation = named.group(1) if named else text.splitlines()[0]
        raise SecondDerivativeError(
            f"no second derivative by the {route} route: {operation}; load the model with attn_implementation='eager' "
            "if this is an attention kernel, otherwise replace the operation by one that can be differentiated twice, "
            "or take route='difference'"
        ) from error


def check_differentiable_twice(gradients: Sequence[Tensor | None]) -> None:
    """Refuse a gradient that passed through a function marked once_differentiable."""
    found = [gradient.grad_fn for gradient in gradients if gradient is not None and gradient.grad_fn is not None]
    seen = set(found)
    while found:
        node = found.pop()
        if node.name().endswith("::Error"):
            raise SecondDerivativeError(
                "no second derivative: a custom autograd function is marked once_differentiable; replace it by one "
                "that can be differentiated twice (fused kernels usually have a switch), or take route='difference'"
            )
        following = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= following
        found += following


def refuse_fused_attention(model: nn.Module) -> None:
    """Refuse an attention implementation whose kernel has no second derivative and may not say so."""
    for name, module in model.named_modules():
        chosen = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if isinstance(chosen, str) and any(word in chosen for word in _FUSED):
            raise SecondDerivativeError(
                f"no second derivative: {name or type(module).__name__} uses attn_implementation={chosen!r}; load the "
                "model with 'sdpa' or 'eager', or take route='difference'"
            )
