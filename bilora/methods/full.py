"""Full fine-tuning: every parameter of a plain model descends, and the whole model is what is exported.

The upper end of the comparison, in cost and often in quality. It takes no adapter: a model that already is a
`PeftModel`, or a PEFT configuration, is refused, and so is a quantised base, whose weights have no gradient.
"""

from __future__ import annotations

from pathlib import Path

from peft import PeftConfig, PeftModel
from torch import nn

from bilora.methods.base import Method
from bilora.methods.options import MethodError


class FullFineTuning(Method):
    """Full fine-tuning: one pass, the optimizer's own step, on all parameters."""

    name = "full-ft"
    summary = "all weights of the model trained, no adapter; one gradient a step"
    perturbs = "nothing"
    radius_convention = "no radius"
    cost_rule = "1"
    memory_rule = "gradients and two optimizer moments of all weights"
    refused_on_quantised = "quantised weights have no gradient"
    source = "standard practice; baseline of arXiv 2508.19564"
    trains_all_weights = True

    def prepare_model(self, model: nn.Module, config: PeftConfig | None) -> nn.Module:
        """Return the model itself with every parameter trainable.

        Raises:
            MethodError: If an adapter is asked for, or already there.
        """
        if config is not None:
            raise MethodError(
                f"method {self.name!r} trains the model's own weights and takes no adapter, found "
                f"{type(config).__name__}; pass peft_config=None, or choose method 'lora'"
            )
        if isinstance(model, PeftModel):
            raise MethodError(
                f"method {self.name!r} trains a plain model, found a PeftModel; pass the base model "
                "(model.unload(), or model.merge_and_unload() to start from the adapter), or choose method 'lora'"
            )
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        return model

    def export(self, folder: str | Path) -> None:
        """Write the whole model to `folder` in Hugging Face's format.

        Raises:
            MethodError: If the model has no `save_pretrained`.
        """
        if not hasattr(self.model, "save_pretrained"):
            raise MethodError(
                f"a {type(self.model).__name__} has no save_pretrained to be exported with; write its state_dict() "
                "with safetensors.torch.save_model"
            )
        super().export(folder)

    def extra_memory(self) -> int:
        """A gradient and two moments for every weight."""
        return 3 * sum(p.nbytes for p in self.weights.parameters)
