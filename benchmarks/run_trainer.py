"""The Trainer of a comparison's runs: losses per scored token for every architecture, kept for a look at each."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.ranks import world_size
from bilora import SharpnessTrainer


class RunTrainer(SharpnessTrainer):
    """Divides the loss of an encoder-decoder by the tokens of all passes of a step, as a decoder does by itself.

    2026-11, transformers 5.24: T5 takes `num_items_in_batch` and leaves it aside, so that the passes of a step were
    added where a mean was meant. Classifiers do so as well; what is counted are their examples.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._losses: list[Tensor] = []

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run one micro-batch, and keep its loss for `pop_losses`."""
        loss = super().training_step(*args, **kwargs)
        self._losses.append(loss.detach())
        return loss

    def load_trained(self, checkpoint: str) -> None:
        """Take the weights and the method's state from a checkpoint of the last step, to train no further."""
        self._load_from_checkpoint(checkpoint)
        self._load_method_state(checkpoint)

    def pop_losses(self) -> list[Tensor]:
        """Return the losses of the passes since the last call."""
        losses, self._losses = self._losses, []
        return losses

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the loss of a micro-batch as its part of the mean over the step's tokens."""
        labels = inputs.get("labels")
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch=num_items_in_batch)
        apart = getattr(self.method.model.config, "is_encoder_decoder", False) or (
            labels is not None and labels.dim() == 1
        )
        if labels is not None and apart and num_items_in_batch is not None:
            logits = outputs["logits"].flatten(0, -2).float()
            targets = labels.flatten().to(logits.device)
            # Ranks average their gradients, and the tokens are those of all ranks.
            loss = cross_entropy(logits, targets, reduction="sum") / num_items_in_batch * world_size()
        return (loss, outputs) if return_outputs else loss
