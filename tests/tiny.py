"""Tiny models built from configuration objects, and batches with unequal numbers of scored tokens."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from bilora import Method, attach

VOCABULARY = 32


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def tiny_t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


class TinyMlp(nn.Module):
    """A plain module: no configuration, no Hugging Face model; returns what a loop needs, a loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 4)

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        logits = self.second(torch.tanh(self.first(input_ids.float() / VOCABULARY)))
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels[:, -1] % 4), logits=logits)


def lora_config(**changes: Any) -> LoraConfig:
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(**{**settings, **changes})


def examples(count: int = 16, *, seed: int = 1) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index in range(count):
        ids = torch.randint(1, VOCABULARY, (8,), generator=generator).tolist()
        masked = 1 + index % 5
        rows.append({"input_ids": ids, "labels": [-100] * masked + ids[masked:]})
    return rows


def as_batch(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def one_pass(model: PeftModel, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """Forward and backward over one batch, as a training loop hands it to `Method.gradients`."""

    def forward_backward() -> Tensor:
        loss: Tensor = model(**batch).loss
        loss.backward()
        return loss.detach()

    return forward_backward


def train_loop(model: PeftModel, method: Method, optimizer: torch.optim.Optimizer, *, steps: int) -> None:
    rows = examples(8 * steps)
    for step in range(steps):
        method.gradients(one_pass(model, as_batch(rows[8 * step : 8 * step + 8])))
        optimizer.step()
        optimizer.zero_grad()


def moved_off_zero(model: PeftModel, *, seed: int = 5) -> None:
    """Give every B a value, so that the adapter is not the zero map of a fresh one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


def attached(
    method: str, *, dropout: float = 0.0, seed: int = 3, fused: bool = True, **options: Any
) -> tuple[PeftModel, Method]:
    """A tiny Llama with a method on it; the seed fixes the primary adapter's start."""
    model = tiny_llama()
    torch.manual_seed(seed)
    peft_model, created = attach(model, lora_config(lora_dropout=dropout), method=method, fused=fused, **options)
    peft_model.train()
    return peft_model, created


def primary_state(model: PeftModel) -> dict[str, Tensor]:
    """Copies of the primary adapter's factors."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if ".default." in n}
