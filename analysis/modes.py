"""The state in which a model is measured: dropout off, and activations recomputed where the model asks for it.

Evaluation mode switches off activation checkpointing too, because transformers recomputes in training only. A layer
whose checkpointing is switched on (`model.gradient_checkpointing_enable()`) is therefore run through PyTorch's
non-reentrant checkpoint here, which derivatives of any order and dual tensors go through; the model's own flags, and
with them its dropout, stay off. Everything is given back at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpointed_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers whose activations are to be recomputed: those that are switched on."""
    return _layers([m for m in model.modules() if getattr(m, "gradient_checkpointing", False) is True])


def repeated_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers whose activations could be recomputed, switched on or not."""
    return _layers([module for module in model.modules() if hasattr(module, "gradient_checkpointing")])


def _layers(switched: list[nn.Module]) -> list[nn.Module]:
    """Return the layers among the modules that have a switch.

    transformers marks whole blocks by a base class, and leaves the same switch on stacks and on parts of blocks; of
    other models the innermost modules are meant.
    """
    blocks = [m for m in switched if any(base.__name__ == "GradientCheckpointingLayer" for base in type(m).__mro__)]
    if blocks:
        inside = {id(part) for block in blocks for part in block.modules() if part is not block}
        return [block for block in blocks if id(block) not in inside]
    chosen = {id(module) for module in switched}
    return [m for m in switched if not any(id(part) in chosen for part in m.modules() if part is not m)]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode and give every module its own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def widened(modules: Sequence[nn.Module], dtype: torch.dtype | None) -> Iterator[None]:
    """Let modules hold copies of their own parameters in a wider type inside the context; None changes nothing."""
    held = [
        (module, attribute, parameter)
        for module in (modules if dtype is not None else ())
        for attribute, parameter in module._parameters.items()
        if parameter is not None and parameter.is_floating_point() and parameter.dtype != dtype
    ]
    # A tied parameter is one copy wherever it is held.
    copies = {id(parameter): parameter.detach().to(dtype) for _, _, parameter in held}
    try:
        for module, attribute, parameter in held:
            module._parameters[attribute] = copies[id(parameter)]  # type: ignore[assignment]
        yield
    finally:
        for module, attribute, parameter in held:
            module._parameters[attribute] = parameter


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Recompute the activations of the checkpointed layers in every backward pass inside the context."""
    layers = checkpointed_layers(model) if torch.is_grad_enabled() else []
    with replaced_forwards(
        layers, lambda layer, forward: partial(_recomputed, partial(_in_evaluation, layer, forward))
    ):
        yield


@contextmanager
def replaced_forwards(
    layers: Sequence[nn.Module], wrap: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Run layers by `wrap(layer, forward)` instead of their own forward inside the context."""
    before = [(layer, layer.__dict__.get("forward")) for layer in layers]
    try:
        for layer in layers:
            layer.forward = wrap(layer, layer.forward)
        yield
    finally:
        for layer, own in before:
            if own is None:
                del layer.forward
            else:
                layer.forward = own


def _in_evaluation(layer: nn.Module, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    # The second run is part of a backward pass, when the model may have its own training flags back.
    with evaluation_mode(layer):
        return forward(*inputs, **options)


def _recomputed(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    # Inputs go in a closure: before torch 2.12 those given to `checkpoint` itself passed through a function that has
    # no forward derivative. Nothing is drawn in evaluation mode, and keeping the random state would cost a transfer.
    return checkpoint(partial(forward, *inputs, **options), use_reentrant=False, preserve_rng_state=False)
