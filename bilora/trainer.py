"""Drives a training method inside `transformers.Trainer`.

`SharpnessMixin` overrides only public points of the Trainer (`training_step`, `create_optimizer`,
`evaluation_loop`, `log`) and its checkpoint writers, so that it also fits `Seq2SeqTrainer` and other subclasses.
Evaluations and exported adapters never see a method's auxiliary parts; checkpoints for resuming carry them.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import Trainer

from bilora.fused import fuse_adapters
from bilora.methods import Method, create_method
from bilora.methods.base import random_state, set_random_state
from bilora.optimizer import build_optimizer

METHOD_STATE = "method_state.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


class SharpnessMixin(Trainer if TYPE_CHECKING else object):  # type: ignore[misc]  # Trainer is untyped
    """Makes a Trainer train with a `Method`.

    Args:
        model: A plain model (then pass `peft_config`) or a `PeftModel` with its primary adapter.
        args: `TrainingArguments`. `max_grad_norm` is applied to each parameter group on its own.
        method: Name of a method, or a `Method` that is not attached yet.
        method_options: Options of a method given by name.
        peft_config: LoRA configuration of the primary adapter.
        fused: Run the active adapters of a layer as one, see `bilora.fused`; equal up to rounding, and faster.
        **kwargs: Everything else the Trainer takes.
    """

    optimizer: Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        args: Any = None,
        *,
        method: str | Method = "bilora",
        method_options: dict[str, Any] | None = None,
        peft_config: LoraConfig | None = None,
        fused: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(method, Method):
            if method_options:
                raise ValueError("method_options go with a method given by name; this one has its options already")
            self.method = method
        else:
            self.method = create_method(method, **(method_options or {}))
        if (kwargs.get("optimizers") or (None, None))[0] is not None:
            raise ValueError(
                f"optimizers: a ready optimizer would not train method {self.method.name!r}; leave it out (args.optim "
                "and args.learning_rate choose one), or use bilora.build_optimizer in a loop of your own"
            )
        self._window: list[tuple[dict[str, Any], Any, list[Tensor]]] = []
        self._window_open = False
        if args is not None:
            # The Trainer would clip all groups jointly; the optimizer's own hook clips each group instead.
            args = copy.copy(args)
            self._max_grad_norm = float(args.max_grad_norm or 0.0)
            args.max_grad_norm = 0.0
        peft_model = self.method.attach(model, peft_config)
        if fused:
            fuse_adapters(peft_model)
        super().__init__(model=peft_model, args=args, **kwargs)
        if args is None:
            self._max_grad_norm = float(self.args.max_grad_norm or 0.0)
            self.args.max_grad_norm = 0.0

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Build the optimizer that `args.optim` names over the method's parameter groups."""
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model or self.model)
            self.optimizer = build_optimizer(
                self.method,
                lr=options.pop("lr"),
                weight_decay=self.args.weight_decay,
                max_grad_norm=self._max_grad_norm,
                optimizer_class=optimizer_class,
                **options,
            )
        return self.optimizer

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch; on the last one of the effective batch let the method refine the gradients."""
        if not self._window_open:
            self.method.before_backward()
            self._window_open = True
        if self.method.replays:
            self._window.append((dict(inputs), num_items_in_batch, random_state()))
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self.method.refine_gradients(lambda: self._replay(model))
            self._window.clear()
            self._window_open = False
        return loss

    def _replay(self, model: nn.Module) -> None:
        """Run the window's micro-batches again, with the dropout masks of their first pass."""
        after = random_state()
        self.method.zero_gradients()
        last = len(self._window) - 1
        for index, (inputs, num_items_in_batch, state) in enumerate(self._window):
            set_random_state(state)
            with nullcontext() if index == last else self.accelerator.no_sync(model):
                super().training_step(model, inputs, num_items_in_batch)
        set_random_state(after)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate or predict what would be exported: without the method's auxiliary parts."""
        with self.method.evaluation():
            return super().evaluation_loop(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the method's means since the last training log."""
        if "loss" in logs:
            logs.update(self.method.means.pop())
            logs["gradient_evaluations"] = float(self.method.gradient_evaluations)
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with self.method.exporting():
            super()._save(output_dir, state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_file(self.method.state_dict(), Path(output_dir) / METHOD_STATE)

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
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        path = Path(resume_from_checkpoint) / ADAPTER_WEIGHTS
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {resume_from_checkpoint} is not a checkpoint of this Trainer")
        with torch.no_grad():
            set_peft_model_state_dict(target, load_file(path), adapter_name=target.active_adapters[0])


class SharpnessTrainer(SharpnessMixin, Trainer):
    """`transformers.Trainer` with a training method of this package; its checkpoints are plain PEFT adapters."""
