"""A tiny Llama trained by any method in one process or in several: what tests and measurements of world sizes share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import dispatch_model
from peft import LoraConfig
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from bilora import SharpnessTrainer
from bilora.compiled import repeated_layers
from bilora.methods import METHODS

#: Ways of several processes to train one model.
MODES = ("ddp", "fsdp2")
#: DDP with replayed passes, which GPUs alone have.
GRAPHED = "ddp-graphed"
#: One process whose model has its first layer on one GPU and its second on another.
SPREAD = "spread"
#: Rows of a micro-batch and tokens of a row, optimizer steps of a run.
ROWS, TOKENS, STEPS = 4, 8, 3
_VOCABULARY = 32
_PLACES = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0}
_PLACES |= {"model.layers.1": 1, "model.norm": 1, "lm_head": 1}
_FSDP = {"version": 2, "fsdp_version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}

#: Name of a parameter or number -> its value.
State = dict[str, Tensor]


class HandSharded(SharpnessTrainer):
    """A Trainer whose model is sharded here: accelerate prepares FSDP2 on accelerators only, not on the CPU."""

    def create_optimizer(self, model: Any = None) -> Any:
        """Shard, then build the optimizer."""
        if self.optimizer is None:
            for layer in repeated_layers(self.model):
                fully_shard(layer)
            fully_shard(self.model)
            self.accelerator.prepare_model = lambda model, **_: model
        return super().create_optimizer(model)


def examples(count: int = 48) -> list[dict[str, list[int]]]:
    """Return random rows of which the first one to five tokens are not scored."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for index in range(count):
        ids = torch.randint(1, _VOCABULARY, (TOKENS,), generator=generator).tolist()
        hidden = 1 + index % 5
        rows.append({"input_ids": ids, "labels": [-100] * hidden + ids[hidden:]})
    return rows


def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Return rows of equal length as a batch."""
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def trainer(
    name: str,
    folder: Path,
    *,
    passes: int,
    mode: str = "ddp",
    dtype: torch.dtype = torch.float64,
    options: dict[str, Any] | None = None,
    adapter: dict[str, Any] | None = None,
    recomputed: bool = False,
    cuda: bool = False,
    **changes: Any,
) -> SharpnessTrainer:
    """Return a run of a method on the tiny Llama.

    Args:
        name: The method.
        folder: The Trainer's own.
        passes: Micro-batches that each rank takes a step.
        mode: One of `MODES` or `GRAPHED`, if there are several ranks; `SPREAD`, if there are two GPUs.
        dtype: Type of all weights.
        options: The method's.
        adapter: Changes to the adapter's configuration.
        recomputed: Whether activations are checkpointed.
        cuda: Whether it trains on GPUs.
        **changes: Other training arguments.
    """
    settings = _settings(folder, passes=passes, cuda=cuda)
    kind: type[SharpnessTrainer] = SharpnessTrainer
    if mode == "fsdp2" and cuda:
        settings |= {"fsdp": "full_shard auto_wrap", "fsdp_config": dict(_FSDP)}
    elif mode == "fsdp2":
        kind = HandSharded
    factors = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **(adapter or {})}
    model: Any = _tiny_llama().to(dtype)
    if mode == SPREAD:
        model = dispatch_model(model, device_map=_PLACES)
    torch.manual_seed(3)
    arguments = TrainingArguments(**{**settings, **changes})
    if arguments.n_gpu > 1:
        # A Trainer without ranks would take all GPUs of the machine, with as many times the batch.
        arguments._n_gpu = 1
    run = kind(
        model,
        arguments,
        method=name,
        method_options=options,
        cuda_graphs=mode == GRAPHED,
        peft_config=None if METHODS[name].trains_all_weights else LoraConfig(**factors),
        train_dataset=examples(),
        data_collator=collate,
    )
    run.remove_callback(PrinterCallback)
    run.model.to(dtype)
    if recomputed:
        switch: Any = getattr(run.model, "activation_checkpointing_enable", None)
        (switch or run.model.gradient_checkpointing_enable)({"use_reentrant": False})
    return run


def _tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        pad_token_id=0,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def _settings(folder: Path, *, passes: int, cuda: bool) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": ROWS,
        "gradient_accumulation_steps": passes,
        "max_steps": STEPS,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": not cuda,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "seed": 4,
        "data_seed": 4,
    }


def trained(run: SharpnessTrainer) -> tuple[State, State]:
    """Train; return the update of every parameter that may change, whole, and numbers that were logged or counted."""
    before = _whole(run)
    run.train()
    update = {name: value - before[name] for name, value in _whole(run).items()}
    logged = next(entry for entry in reversed(run.state.log_history) if "loss" in entry)
    numbers = {key: logged[key] for key in ("grad_norm", "perturbation_norm", "clip_active") if key in logged}
    numbers |= {"gradients": run.method.cost.gradients, "forwards": run.method.cost.forwards}
    return update, {key: torch.tensor(value, dtype=torch.float64) for key, value in numbers.items()}


def _whole(run: SharpnessTrainer) -> State:
    held = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad or ".auxiliary." in n}
    return {
        name.removeprefix("module."): (p.full_tensor() if isinstance(p, DTensor) else p).cpu().clone()
        for name, p in held.items()
    }


def relative_difference(found: State, expected: State) -> float:
    """Return ||found - expected|| / ||expected|| over all tensors together."""
    difference = torch.stack([(found[name] - value).norm() for name, value in expected.items()]).norm()
    return float(difference / torch.stack([value.norm() for value in expected.values()]).norm())
