"""Driving a method by hand: a loop with everything any method may ask for, and exact gradients to check it by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bilora import Method, build_optimizer
from tests.tiny import as_batch, attached, examples, moved_off_zero

Batch = dict[str, Tensor]


def chosen_rows(batch: Batch, kept: Tensor | None) -> Batch:
    return batch if kept is None else {key: value[kept] for key, value in batch.items()}


def step_gradients(method: Method, model: Any, batch: Batch, *, weight: float = 1.0, seen: Any = None) -> Tensor:
    """One step's gradients of weight * mean loss; `seen` is called in front of every backward pass."""

    def losses() -> Tensor:
        rows = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(len(batch["labels"]))]
        return torch.stack([model(**row).loss for row in rows])

    def forward_backward(kept: Tensor | None = None) -> Tensor:
        if seen is not None:
            seen(kept)
        loss: Tensor = weight * model(**chosen_rows(batch, kept)).loss
        loss.backward()
        return loss.detach()

    return method.gradients(forward_backward, loss=lambda: model(**batch).loss, example_losses=losses)


def train(method: Method, model: Any, *, steps: int, lr: float = 1e-2, fresh: bool = False, **options: Any) -> None:
    """Train on one batch, or with `fresh` on another one each step."""
    optimizer = build_optimizer(method, lr=lr, total_steps=steps, **options)
    for step in range(steps):
        step_gradients(method, model, as_batch(examples(seed=1 + step * fresh)))
        optimizer.step()
        optimizer.zero_grad()


def in_double(name: str, **options: Any) -> tuple[Any, Method]:
    """A tiny Llama in float64 with a method on it and no factor at zero."""
    model, method = attached(name, **options)
    moved_off_zero(model)
    model.double()
    return model, method


def trained(model: Any) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def gradient_at(model: Any, batch: Batch, moves: Sequence[Tensor] | None = None) -> list[Tensor]:
    """The gradient of the mean loss at the trained weights + moves, by a functional call that moves nothing."""
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    values = [p.detach().clone() for p in trained(model)]
    if moves is not None:
        values = [v + m for v, m in zip(values, moves, strict=True)]
    values = [v.requires_grad_() for v in values]
    loss = torch.func.functional_call(model, dict(zip(names, values, strict=True)), kwargs=batch).loss
    return list(torch.autograd.grad(loss, values))


def flat(tensors: Sequence[Any]) -> Tensor:
    return torch.cat([t.detach().double().flatten() for t in tensors])


def present(model: Any) -> list[Tensor]:
    """Copies of the gradients that stand in `.grad`."""
    return [p.grad.detach().clone() for p in trained(model)]


def like(vector: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Cut a flat vector into the shapes of `tensors`."""
    parts = vector.split([t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


class Points:
    """Where the trained weights stood in every backward pass, relative to the start, and which examples were in it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._start = flat(trained(model))
        self.moves: list[Tensor] = []
        self.kept: list[Tensor | None] = []

    def __call__(self, kept: Tensor | None) -> None:
        self.moves.append(flat(trained(self._model)) - self._start)
        self.kept.append(kept)
