"""Checkpoints of a Trainer that trains with a `Method`: plain PEFT adapters, and beside them what a resumed run needs.

A checkpoint holds the exported adapter as PEFT writes it, so that anyone can load it, and the method's own state
(auxiliary factors, moving averages, counters) in a file of its own. A run that goes on from it equals one that was
never interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Trainer

from bilora.methods import Method

METHOD_STATE = "method_state.safetensors"


class MethodCheckpoints(Trainer if TYPE_CHECKING else object):  # type: ignore[misc]  # Trainer is untyped
    """What a Trainer with a `Method` writes into a checkpoint and takes back from it; see `SharpnessMixin`."""

    #: The method that trains.
    method: Method

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with self.method.exporting():
            super()._save(output_dir, state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        # Of sharded weights all ranks take part in this.
        state = self.method.state_dict()
        if self.args.should_save:
            save_file(state, Path(output_dir) / METHOD_STATE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            # First, because its errors say more than those of an optimizer whose groups do not match.
            self._load_method_state(checkpoint)
        super()._load_optimizer_and_scheduler(checkpoint)

    def _load_method_state(self, checkpoint: str) -> None:
        path = Path(checkpoint) / METHOD_STATE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: this checkpoint holds no state of method {self.method.name!r} and cannot be "
                "resumed exactly; start anew, or resume from a checkpoint that SharpnessTrainer wrote"
            )
        self.method.load_state_dict(load_file(path))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the primary adapter's weights in place.

        The Trainer's own way re-adds the adapter, which would change which adapters are active.
        """
        target = self.model if model is None else model
        if not isinstance(target, PeftModel):
            refuse_pickled_weights(resume_from_checkpoint)
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        self.method.load_adapter(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        """Load the best adapter as a resumed run does; the Trainer's own way would add it anew."""
        if isinstance(self.model, PeftModel):
            self._load_from_checkpoint(str(self.state.best_model_checkpoint))
        else:
            super()._load_best_model()


def refuse_pickled_weights(checkpoint: str | Path) -> None:
    """Refuse a checkpoint whose weights are a pickle, which can run any code when it is read.

    Raises:
        ValueError: Naming the file.
    """
    folder = Path(checkpoint)
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    # The method's own state is another file in that format.
    if pickled and not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"{pickled[0]} holds its weights as a pickle, which can run any code when it is read; weights are read "
            "from safetensors only: load it where you trust it, and save it again with save_pretrained"
        )
