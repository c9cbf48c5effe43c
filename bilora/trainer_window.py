"""The micro-batches of one optimizer step inside a Trainer, see `bilora.methods.window`.

A replay runs the Trainer's own `training_step`, so mixed precision, loss scaling and the token-weighted mean over the
effective batch are those of the first pass. Losses of single examples are read from the logits of a pass that is
run anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from bilora.example_losses import IGNORED_LABEL, example_losses
from bilora.methods.options import MethodError
from bilora.methods.window import Window, random_state, replaying, set_random_state
from bilora.ranks import sum_over_ranks, world_size

if TYPE_CHECKING:
    from bilora.trainer import SharpnessMixin


class TrainerWindow(Window):
    """The micro-batches of one optimizer step of a `SharpnessMixin`.

    Args:
        trainer: Whose step it is.
        model: The model as the Trainer's loop hands it on (wrapped, where training is distributed).
        batches: Micro-batches that are known in advance; others are added as they come.
        items: Number of scored tokens of the effective batch, as the Trainer counted them.
        share: See `Window`.
    """

    def __init__(
        self, trainer: SharpnessMixin, model: nn.Module, batches: Sequence[Any], items: Any, *, share: float = 1.0
    ) -> None:
        scaler = trainer.accelerator.scaler
        super().__init__(
            trainer.method.cost,
            share=share,
            loss_scaled=scaler is not None and scaler.is_enabled(),
            alone=trainer.method.alone,
        )
        self._trainer = trainer
        self._model = model
        # The Trainer pops labels from the dictionary it is given.
        self._batches = [dict(batch) for batch in batches]
        self._items = items
        self._states: list[list[Tensor]] = []
        self._first: list[Tensor] = []

    def first_pass(self, inputs: dict[str, Any], *, last: bool) -> Tensor:
        """Run the next micro-batch of the first pass and return its loss."""
        if len(self._states) == len(self._batches):
            self._batches.append(dict(inputs))
        self._states.append(random_state())
        if self._trainer.method.needs_example_losses:
            with self._listening(self._first):
                loss = self._step(inputs)
        else:
            loss = self._step(inputs)
        if last:
            self.cost.gradients += self.share
        return loss

    def _step(self, inputs: dict[str, Any], items: Any = None) -> Tensor:
        """Forward and backward pass of one micro-batch, the Trainer's own way."""
        count = self._items if items is None else items
        with self._apart() if self.alone else nullcontext():
            return self._trainer.plain_training_step(self._model, inputs, count)

    def _apart(self) -> AbstractContextManager[None]:
        """Leave gradients as they are on this rank."""
        context: AbstractContextManager[None] = self._trainer.accelerator.no_sync(self._model)
        return context

    def replay(self, kept: Sequence[Tensor] | None = None) -> None:
        """See `Window.replay`."""
        self._trainer.method.zero_gradients()
        chosen, items, part = self._batches, self._items, 1.0
        run = list(range(len(chosen)))
        if kept is not None:
            chosen, items, part = self._kept(kept)
            if self.alone or world_size() == 1:
                run = [index for index in run if bool(kept[index].any())]
        after = random_state()
        with torch.enable_grad():
            for index in run:
                set_random_state(self._states[index])
                with nullcontext() if index == run[-1] else self._apart():
                    self._step(dict(chosen[index]), items)
        set_random_state(after)
        self.cost.gradients += self.share * part

    def _kept(self, kept: Sequence[Tensor]) -> tuple[list[dict[str, Any]], Any, float]:
        """Return the micro-batches with the kept examples alone, their scored tokens, and the part that is kept.

        Ranks that share the batch take equally many passes, or one would wait for another: where nothing is kept one
        example is run of which nothing is scored.
        """
        chosen = [_selected(b, k) for b, k in zip(self._batches, kept, strict=True)]
        shifted = not self._trainer.method.model.config.is_encoder_decoder
        counts = [float(sum(int(k.sum()) for k in kept)), float(sum(len(k) for k in kept))]
        counts += [_scored(batches, shifted=shifted) for batches in (chosen, self._batches)]
        if not self.alone and world_size() > 1:
            if self._items is None:
                raise MethodError(
                    f"method {self._trainer.method.name!r} leaves other numbers of examples out on every rank, and "
                    "this model's loss does not weigh by them (it takes no num_items_in_batch); train on one rank, or "
                    "with gamma=1"
                )
            device = self._trainer.accelerator.device
            counts = sum_over_ranks(torch.tensor(counts, dtype=torch.float64, device=device)).tolist()
            chosen = [
                own if bool(k.any()) else _unscored(batch)
                for own, batch, k in zip(chosen, self._batches, kept, strict=True)
            ]
        items = None if self._items is None else self._items * (counts[2] / counts[3])
        return chosen, items, counts[0] / counts[1]

    def loss(self) -> Tensor:
        """See `Window.loss`."""
        return self.mean(torch.stack(self._forwards()).sum())

    def example_losses(self) -> list[Tensor]:
        """See `Window.example_losses`."""
        found: list[Tensor] = []
        with self._listening(found):
            self._forwards()
        return found

    def first_example_losses(self) -> list[Tensor]:
        """See `Window.first_example_losses`."""
        return self._first

    @torch.no_grad()
    def _forwards(self) -> list[Tensor]:
        """Forward passes of all micro-batches; their losses are each one's part of the mean."""
        if not self._batches:
            raise MethodError(
                f"method {self._trainer.method.name!r} needs the micro-batches of the step in advance; call train(), "
                "which announces them, instead of training_step()"
            )
        trainer = self._trainer
        losses = []
        self._model.train()
        with replaying(self._states[0] if self._states else random_state()):
            for index, batch in enumerate(self._batches):
                if index < len(self._states):
                    set_random_state(self._states[index])
                with trainer.compute_loss_context_manager():
                    loss = trainer.compute_loss(
                        self._model, trainer._prepare_inputs(dict(batch)), num_items_in_batch=self._items
                    )
                losses.append(loss if self._items is not None else loss / len(self._batches))
        for module in self._model.modules():
            # Of FSDP2: after a forward pass alone it may still hold whole weights, which would not follow a change.
            if isinstance(module, FSDPModule):
                module.reshard()
        self.cost.forwards += self.share
        return losses

    @contextmanager
    def _listening(self, found: list[Tensor]) -> Iterator[None]:
        """Collect the example losses of the forward passes inside."""

        def listen(outputs: Any, labels: Tensor | None) -> None:
            if labels is None:
                raise MethodError("losses of single examples need 'labels' in the batch")
            found.append(example_losses(self._trainer.method.model, outputs["logits"].detach(), labels))

        self._trainer.on_outputs = listen
        try:
            yield
        finally:
            self._trainer.on_outputs = None


def _selected(batch: dict[str, Any], kept: Tensor) -> dict[str, Any]:
    """Return the kept examples of a micro-batch."""
    return {
        key: value[kept.to(value.device)]
        if isinstance(value, Tensor) and value.dim() and len(value) == len(kept)
        else value
        for key, value in batch.items()
    }


def _unscored(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the first example of a micro-batch, of which nothing is scored."""
    first = _selected(batch, torch.arange(len(batch["labels"])) == 0)
    return {**first, "labels": torch.full_like(first["labels"], IGNORED_LABEL)}


def _scored(batches: Sequence[dict[str, Any]], *, shifted: bool) -> float:
    """Return how many tokens are scored; where labels are shifted the one at position 0 never is."""
    labels = [batch["labels"] for batch in batches]
    return float(sum(int((x[..., 1:] if shifted and x.dim() > 1 else x).ne(IGNORED_LABEL).sum()) for x in labels))
