"""The losses on which curvature libraries are compared: one batch of a small trained model, and a T5-base shape.

A model with random weights has a spectrum without outliers, on which any method looks alike and takes hundreds of
products, so all are trained: pocket-llama ships trained, the T5s learn to reverse sequences for a while. All data is
one batch, since libraries weigh batches differently, and attention is the plain kind, since not all of them switch it
themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from analysis import Objective, ParameterSpace, causal_lm_loss, parameter_space, seq2seq_lm_loss
from analysis.losses import CrossEntropyLoss
from benchmarks.encoding import PaddedBatch, encode_all
from benchmarks.loading import load_model
from benchmarks.models import locate_model
from benchmarks.tasks import TASKS


@dataclass(frozen=True)
class PeerCase:
    """A loss and the parameters it is curved in.

    Attributes:
        name: Key of `CASES`.
        model: Float32 model.
        batch: The data.
        loss: Token-summed loss of the model on the batch.
        trained: Whether its spectrum is that of a trained model.
    """

    name: str
    model: nn.Module
    batch: dict[str, Tensor]
    loss: CrossEntropyLoss
    trained: bool

    @property
    def objective(self) -> Objective:
        """The mean loss on the batch."""
        return Objective(self.model, [self.batch], loss=self.loss)

    @property
    def space(self) -> ParameterSpace:
        """All parameters."""
        return parameter_space(self.model, "all")

    def mean_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss per token, as libraries want it that average batches."""
        total, tokens = self.loss(model, batch)
        return total / tokens

    def described(self) -> str:
        """Return the name with its size."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        rows, tokens = self.batch["input_ids"].shape
        return f"{self.name}, {parameters:,} parameters, {rows}x{tokens} tokens, float32"


def build_case(name: str, *, device: torch.device) -> PeerCase:
    """Return a case of `CASES`, on a device, the same in every process."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        case = CASES[name](device)
    batch = {key: value.to(device) for key, value in case.batch.items()}
    return replace(case, name=name, model=case.model.to(device).eval(), batch=batch)


def _llama_small(_: torch.device) -> PeerCase:
    """pocket-llama on sixteen training examples of pocket-math."""
    folder = locate_model("pocket-llama")
    tokenizer = load_model(folder, device=torch.device("cpu"))[1]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, attn_implementation="eager"
    )
    rows = encode_all(TASKS["pocket-math"]().examples("train")[:16], tokenizer)
    return PeerCase("", model, PaddedBatch(tokenizer.pad_token_id)(rows), causal_lm_loss, trained=True)


def _t5_small(device: torch.device) -> PeerCase:
    """A T5 of a million parameters that has begun to reverse sequences of twelve tokens."""
    model = _t5(vocabulary=512, width=128, inner=256, layers=3, heads=4).to(device)
    _train(model, steps=120, rows=32, tokens=12, vocabulary=64)
    return PeerCase("", model, _reversal(rows=32, tokens=12, vocabulary=64, seed=-1), seq2seq_lm_loss, trained=True)


def _t5_base(device: torch.device) -> PeerCase:
    """The shape of T5-base (2020) that has begun to reverse sequences of sixteen tokens, on 64 x 16 tokens."""
    model = _t5(vocabulary=32128, width=768, inner=3072, layers=12, heads=12).to(device)
    _train(model, steps=200, rows=64, tokens=16, vocabulary=64, rate=3e-4)
    batch = _reversal(rows=64, tokens=16, vocabulary=64, seed=-1)
    return PeerCase("", model, batch, seq2seq_lm_loss, trained=True)


def _llama_tiny(_: torch.device) -> PeerCase:
    """Two layers, random weights: for trying the benchmark out."""
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    ids = torch.randint(0, 32, (4, 8), generator=torch.Generator().manual_seed(0))
    return PeerCase("", LlamaForCausalLM(config), {"input_ids": ids, "labels": ids}, causal_lm_loss, trained=False)


def _t5_tiny(device: torch.device) -> PeerCase:
    """One layer on each side, a few steps of training: for trying the benchmark out."""
    model = _t5(vocabulary=32, width=16, inner=24, layers=1, heads=2).to(device)
    _train(model, steps=3, rows=4, tokens=5, vocabulary=32)
    return PeerCase("", model, _reversal(rows=4, tokens=5, vocabulary=32, seed=-1), seq2seq_lm_loss, trained=True)


CASES: dict[str, Callable[[torch.device], PeerCase]] = {
    "llama-small": _llama_small,
    "t5-small": _t5_small,
    "t5-base": _t5_base,
    "llama-tiny": _llama_tiny,
    "t5-tiny": _t5_tiny,
}


def _t5(*, vocabulary: int, width: int, inner: int, layers: int, heads: int) -> T5ForConditionalGeneration:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=width // heads,
        d_ff=inner,
        num_layers=layers,
        num_heads=heads,
        decoder_start_token_id=0,
        dropout_rate=0.0,
        attn_implementation="eager",
    )
    return T5ForConditionalGeneration(config)


def _reversal(*, rows: int, tokens: int, vocabulary: int, seed: int) -> dict[str, Tensor]:
    """Return random sequences and their reversals."""
    generator = torch.Generator().manual_seed(seed % 2**32)
    ids = torch.randint(2, vocabulary, (rows, tokens), generator=generator)
    return {"input_ids": ids, "labels": ids.flip(1)}


def _train(model: nn.Module, *, steps: int, rows: int, tokens: int, vocabulary: int, rate: float = 1e-3) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(steps):
        total, count = seq2seq_lm_loss(model, _reversal(rows=rows, tokens=tokens, vocabulary=vocabulary, seed=step))
        (total / count).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
