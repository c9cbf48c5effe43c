"""What a training method does with the model outside of steps: attach adapters, find what is trained, export it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from torch import Tensor, nn

from bilora.adapters import attach_primary
from bilora.methods.description import Description
from bilora.methods.options import MethodError
from bilora.methods.over_ranks import refusal, save_whole
from bilora.residual_base import load_primary, primary_saved
from bilora.weights import TrainedWeights, trained_weights


class Attachment(Description):
    """A method's hold on its model.

    Attributes:
        weights: What is trained, as one vector; known once a model is attached.
    """

    weights: TrainedWeights
    _model: nn.Module | None = None

    @property
    def model(self) -> Any:
        """The model this method was attached to; a `PeftModel` unless the method trains all weights."""
        if self._model is None:
            raise MethodError(f"method {self.name!r} is not attached to a model yet; call attach first")
        return self._model

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the method's adapters to `model` and return the model to train.

        Args:
            model: A plain model (then `config` is needed) or a `PeftModel` with its primary adapter active.
            config: PEFT configuration of the primary adapter.

        Raises:
            MethodError: If the method does not run on a quantised base and this is one.
            ValueError: If a plain model comes without a config, or a PEFT model with one.
        """
        if self.refused_on_quantised is not None and getattr(model, "is_quantized", False):
            raise MethodError(f"method {self.name!r} does not run on a quantised base: {self.refused_on_quantised}")
        self._model = self.prepare_model(model, config)
        self.weights = trained_weights(self._model)
        self._trained_names = [name for name, p in self._model.named_parameters() if p.requires_grad]
        return self._model

    def follow(self) -> None:
        """Find the trained weights anew: FSDP2 puts sharded parameters in the places of those that were attached.

        `build_optimizer` does so, and so does the Trainer once its model is wrapped; what several ranks must agree on
        is agreed upon here too, so that all of them must call it.

        Raises:
            MethodError: If the method cannot be trained as the weights are sharded.
        """
        # A checkpointing wrapper adds a part to the names.
        found = {name.replace("._checkpoint_wrapped_module", ""): name for name, _ in self.model.named_parameters()}
        names = [found[name.replace("._checkpoint_wrapped_module", "")] for name in self._trained_names]
        self.weights = trained_weights(self.model, names=names)
        reason = refusal(self.weights, scope=self.scope, carries_gradients=self.carries_gradients)
        if reason is not None:
            raise MethodError(f"method {self.name!r}: {reason}")

    def prepare_model(self, model: nn.Module, config: PeftConfig | None) -> nn.Module:
        """Return the model with the primary adapter and nothing else trainable."""
        prepared: nn.Module = attach_primary(model, config)
        return prepared

    def trained_parameters(self) -> list[Tensor]:
        """Return every parameter of the model that is being trained, auxiliary ones included."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def zero_gradients(self) -> None:
        """Drop the gradients of all trained parameters."""
        for parameter in self.trained_parameters():
            parameter.grad = None

    def evaluation(self) -> AbstractContextManager[None]:
        """Context in which the model computes what will be exported."""
        return nullcontext()

    def exporting(self) -> AbstractContextManager[None]:
        """Context in which `model.save_pretrained` writes the exported adapter only, for the original base."""
        if isinstance(self.model, PeftModel):
            return primary_saved(self.model, str(self.model.active_adapters[0]))
        return nullcontext()

    def export(self, folder: str | Path) -> None:
        """Write what was trained to `folder`: an adapter in PEFT's format, or a whole model.

        Under FSDP2 all ranks must call this, and the first one writes.
        """
        with self.exporting():
            save_whole(self.model, str(folder))

    def load_adapter(self, folder: str | Path) -> None:
        """Load an adapter that `export` or a checkpoint wrote into the live parameters, without adding it anew.

        Raises:
            MethodError: If the parameters are sharded.
        """
        if self.weights.sharded:
            raise MethodError("an adapter is loaded before the model is sharded: resume under DDP, or load it first")
        load_primary(self.model, folder, str(self.model.active_adapters[0]))
