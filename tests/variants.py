"""Tiny models with an adapter variant on them."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from bilora.variants import AdapterVariant, create_variant
from tests.tiny import as_batch, examples, tiny_llama


def prepared(name: str, model: Any, **settings: Any) -> AdapterVariant:
    """A variant ready to be attached to a tiny Llama; the seed fixes where it starts."""
    variant = create_variant(name, **{"rank": 4, "task_type": "CAUSAL_LM", **settings})
    if variant.needs_gradients:
        batch = as_batch(examples())
        variant.prepare(model, lambda: model(**batch).loss.backward())
    torch.manual_seed(3)
    return variant


def with_variant(name: str, *, double: bool = False, **settings: Any) -> PeftModel:
    model = tiny_llama()
    attached = prepared(name, model, **settings).attach(model)
    return attached.double() if double else attached


def stirred(model: nn.Module, *, scale: float = 0.05, seed: int = 5) -> None:
    """Move every trained parameter, so that no part of the formula is at a special value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def logits(model: Any) -> Tensor:
    model.eval()
    with torch.no_grad():
        found: Tensor = model(**as_batch(examples())).logits
    return found
