"""Drives a training method inside `transformers.Trainer`.

`SharpnessMixin` overrides only public points of the Trainer (`training_step`, `compute_loss`, `create_optimizer`,
`create_scheduler`, `get_batch_samples`, `evaluation_loop`, `log`), and `bilora.trainer_checkpoints` its checkpoint
writers, so that it also fits `Seq2SeqTrainer` and other subclasses. Evaluations and exported adapters never see a
method's auxiliary parts; checkpoints for resuming carry them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

from peft import PeftConfig
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from transformers import Trainer

from bilora import compiled
from bilora.compiled import compiling_pays
from bilora.flat import FlatAdamW
from bilora.fused import fuse_adapters
from bilora.methods import Method, create_method
from bilora.optimizer import build_optimizer
from bilora.trainer_checkpoints import MethodCheckpoints
from bilora.trainer_graphs import GraphedStep, is_spread, refuse_graphs, wrap_on_side_stream
from bilora.trainer_ranks import refuse_launch, refuse_wrapped
from bilora.trainer_window import TrainerWindow


class SharpnessMixin(MethodCheckpoints):
    """Makes a Trainer train with a `Method`.

    Args:
        model: A plain model (then pass `peft_config`) or a `PeftModel` with its primary adapter.
        args: `TrainingArguments`. `max_grad_norm` is applied to each parameter group on its own.
        method: Name of a method, or a `Method` that is not attached yet.
        method_options: Options of a method given by name.
        peft_config: PEFT configuration of the primary adapter.
        fused: Run the active adapters of a layer as one, see `bilora.fused`; equal up to rounding, and faster.
        compile_layers: Compile the repeated layers for training, see `bilora.compiled`; "auto" does so where it is
            known to pay, see `bilora.compiled.compiling_pays`.
        cuda_graphs: Replay forward and backward passes as CUDA graphs, see `bilora.graphed`, and step with
            `bilora.flat.FlatAdamW` where AdamW is asked for. It pays where a GPU waits for Python: small models, short
            rows. Each shape of a batch is recorded once, sixteen of them at most: let the collator pad to few lengths.
            The Trainer itself waits for every loss unless `args.logging_nan_inf_filter` is false. What a loss of your
            own decides in Python is decided once, when it is recorded. Under DDP every rank replays its own passes, and
            gradients are averaged after them.
        **kwargs: Everything else the Trainer takes.

    Raises:
        MethodError: If the method or an option of it is unknown or out of range.
        ValueError: If options come with a method that has its own, a ready optimizer is given, adapter and model do
            not fit together, or this launch or model cannot do what is asked for.
    """

    optimizer: Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        args: Any = None,
        *,
        method: str | Method = "bilora",
        method_options: dict[str, Any] | None = None,
        peft_config: PeftConfig | None = None,
        fused: bool = True,
        compile_layers: bool | Literal["auto"] = "auto",
        cuda_graphs: bool = False,
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
        self._window: TrainerWindow | None = None
        self._upcoming: list[Any] = []
        #: Called with the outputs and labels of every forward pass while a window wants them.
        self.on_outputs: Callable[[Any, Tensor | None], None] | None = None
        if args is not None:
            # The Trainer would clip all groups jointly; the optimizer's own hook clips each group instead.
            args = copy.copy(args)
            self._max_grad_norm = float(args.max_grad_norm or 0.0)
            args.max_grad_norm = 0.0
            refuse_launch(args, compile_layers=compile_layers)
        attached = self.method.attach(model, peft_config)
        if fused:
            fuse_adapters(attached)
        super().__init__(model=attached, args=args, **kwargs)
        if self._compiling_pays() if compile_layers == "auto" else compile_layers:
            compiled.compile_layers(attached)
        if args is None:
            self._max_grad_norm = float(self.args.max_grad_norm or 0.0)
            self.args.max_grad_norm = 0.0
        self._graphed: GraphedStep | None = None
        if cuda_graphs:
            refuse_graphs(self)
            self._graphed = GraphedStep(self, super().training_step)
            wrap_on_side_stream(self.accelerator)

    def _compiling_pays(self) -> bool:
        """Whether to compile unasked: nothing the arguments ask for would get in the way, and it is known to pay."""
        recomputing = any(getattr(self.args, f"{kind}_checkpointing", False) for kind in ("gradient", "activation"))
        spread = self.args.n_gpu > 1 or self.args.fsdp or is_spread(self.model)
        otherwise = recomputing or self.args.torch_compile or spread
        return not otherwise and compiling_pays(self.model)

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Build the optimizer that `args.optim` names over the method's parameter groups."""
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model or self.model)
            if self._graphed is not None and optimizer_class is AdamW:
                # Its gradients come in one piece.
                optimizer_class = FlatAdamW
            self.optimizer = build_optimizer(
                self.method,
                lr=options.pop("lr"),
                weight_decay=self.args.weight_decay,
                max_grad_norm=self._max_grad_norm,
                optimizer_class=optimizer_class,
                **options,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Tell the method how many steps there will be, and build the scheduler."""
        self.method.total_steps = num_training_steps
        # By now the model is wrapped, and FSDP2 has put sharded parameters in the places of those that were attached.
        self.method.follow()
        return super().create_scheduler(num_training_steps, optimizer)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of the next optimizer step, which a method may want to see in advance."""
        samples, items = super().get_batch_samples(*args, **kwargs)
        self._upcoming = list(samples)
        return samples, items

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch; on the last one of the effective batch let the method refine the gradients."""
        refuse_wrapped(self.method, model)
        if self.method.scope == "micro-batch":
            count = max(len(self._upcoming), 1)
            with self.method.gradients_added():
                window = TrainerWindow(self, model, [inputs], num_items_in_batch, share=1 / count)
                return self._pass(window, inputs, first=True, last=True)
        first = self._window is None
        if self._window is None:
            # Who calls this without the Trainer's loop has announced no batches: they come one by one.
            known = self._upcoming if any(inputs is batch for batch in self._upcoming[:1]) else []
            self._window = TrainerWindow(self, model, known, num_items_in_batch)
        last = bool(self.accelerator.sync_gradients)
        window = self._window
        if last:
            self._window = None
        return self._pass(window, inputs, first=first, last=last)

    def plain_training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any) -> Tensor:
        """Run forward and backward over one micro-batch as the Trainer would without a method.

        Args:
            model: The model, wrapped as the Trainer trains it.
            inputs: The micro-batch.
            num_items_in_batch: Scored tokens of the effective batch, over which the loss is a mean; None for the mean
                over the micro-batch.

        Returns:
            The loss, a scalar, detached.
        """
        if self._graphed is not None and self.on_outputs is None:
            return self._graphed(model, inputs, num_items_in_batch)
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _pass(self, window: TrainerWindow, inputs: dict[str, Any], *, first: bool, last: bool) -> Tensor:
        try:
            if first:
                self.method.before_backward(window)
            loss = window.first_pass(inputs, last=last)
            if last:
                self.method.refine_gradients(window)
                self.method.average_over_ranks()
        except BaseException:
            self._window = None
            self.method.abandon_step()
            raise
        return loss

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the Trainer's loss; hand the model's outputs to whoever listens."""
        if self.on_outputs is None:
            return super().compute_loss(model, inputs, *args, **kwargs)
        labels = inputs.get("labels")
        asked = kwargs.pop("return_outputs", args[0] if args else False)
        loss, outputs = super().compute_loss(model, inputs, True, *args[1:], **kwargs)
        self.on_outputs(outputs, labels)
        return (loss, outputs) if asked else loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate or predict what would be exported: without the method's auxiliary parts."""
        with self.method.evaluation():
            return super().evaluation_loop(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the method's means since the last training log."""
        if "loss" in logs:
            logs.update(self.method.means.pop())
            logs["gradient_evaluations"] = self.method.cost.gradients
            logs["forward_evaluations"] = self.method.cost.forwards
            logs["extra_memory_bytes"] = float(self.method.extra_memory())
        super().log(logs, *args, **kwargs)


class SharpnessTrainer(SharpnessMixin, Trainer):
    """`transformers.Trainer` with a training method of this package; its checkpoints are plain PEFT adapters."""
