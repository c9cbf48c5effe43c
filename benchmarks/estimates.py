"""How long a step will take and how much memory it will need, from steps that were measured and from counting.

A step that was measured on one H200 (`results/efficiency-h200.json`) at the model, rows and tokens in question is taken
as it is. Another length or model is scaled from the nearest measured one: time by counted operations (two for every
weight of a linear layer and token in the forward pass, as many for the gradient of its input, as many again where the
weight itself is trained), memory by `needed_bytes`. Methods that were not measured at that size cost LoRA's step times
their measured ratio on `pocket-llama` (`results/step-cost-methods.json`). Without CUDA graphs the step is that of
PEFT's LoRA as it comes. Every estimate says which of this it rests on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.model_shapes import SHAPES
from benchmarks.step_memory import needed_bytes
from benchmarks.step_record import STOCK_LORA
from benchmarks.step_timing import GRAPHED, STOCK

RESULTS = Path(__file__).parent / "results"
#: Names on the Hugging Face hub of the models whose shapes are known.
HUB_SHAPES = {
    "t5-base": "t5-base",
    "google-t5/t5-base": "t5-base",
    "meta-llama/Llama-2-7b-hf": "llama-2-7b",
    "meta-llama/Llama-3.1-8B": "llama-3.1-8b",
    "Qwen/Qwen2.5-14B": "qwen2.5-14b",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl-unet",
}
#: The model that an unmeasured one is scaled from.
REFERENCE = "llama-3.1-8b"
# Bits of a weight in NF4: four, and one float32 scale for 64 weights.
_NF4_BYTES = 4.5 / 8
# Bytes of a weight that is trained: itself, its gradient and two moments in float32.
_TRAINED_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that is to be estimated.

    Attributes:
        model: Name in `SHAPES`.
        method: Name of the method.
        quantize: "nf4" or None.
        rows: Of a forward pass.
        tokens: Of a row, or latents of a picture.
        graphed: Whether passes are replayed as CUDA graphs.
        trains_all_weights: Whether the model's own weights are trained.
        rank: Of the adapter.
        dtype: Of the weights; the measured steps have bfloat16.
        gradient_checkpointing: Whether activations are taken twice.
    """

    model: str
    method: str
    quantize: str | None
    rows: int
    tokens: int
    graphed: bool
    trains_all_weights: bool
    rank: int
    dtype: str = "bfloat16"
    gradient_checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a forward and backward pass over `rows` takes.

    Attributes:
        seconds: Of it, with its share of the optimizer.
        bytes: Peak memory, the model included; None where it was not measured.
        basis: What the numbers rest on, a sentence each.
    """

    seconds: float
    bytes: float | None
    basis: tuple[str, ...]


def estimate(step: Step) -> Estimate:
    """Return time and memory of a step on one H200."""
    path = GRAPHED if step.graphed else STOCK
    reference = _nearest(step.model, step.rows, step.tokens, path)
    basis = [f"{reference['model']} at {reference['shape']}, {_path_words(path)}: measured on one H200"]
    seconds, peak = reference["step_ms"] / 1e3, reference["peak_gb"] * 1e9
    own = (step.model, step.rows, step.tokens)
    measured = (reference["model"], *_size(reference["shape"]))
    if own != measured:
        basis.append(
            f"{step.model} at {step.rows}x{step.tokens}: scaled from {reference['model']} at {reference['shape']}, "
            "time by counted operations and memory by counted bytes"
        )
        seconds *= operations(*own) / operations(*measured)
        peak *= counted_bytes(*own, step.rank) / counted_bytes(*measured, step.rank)
    ratio, extra, why = method_cost(step)
    peak += extra
    if why:
        basis.append(why)
    if step.dtype == "float32":
        peak += 2 * parameters(step.model)
        basis.append(
            "float32: two more bytes for every weight are counted; activations and time are bfloat16's, so at least"
        )
    if step.gradient_checkpointing:
        basis.append("gradient checkpointing was not measured and is left out: less memory, up to a third more time")
    if step.quantize is not None:
        peak -= (2 - _NF4_BYTES) * linear_weights(step.model)
        basis.append(
            f"{step.quantize}: 4.5 bits a weight counted; the time of unpacking was not measured and is left out"
        )
    return Estimate(seconds=seconds * ratio, bytes=peak, basis=tuple(basis))


def pocket_estimate(method: str, *, rows: int) -> Estimate | None:
    """Return the time of a pass of `pocket-llama` on two CPU cores, from steps of 16 rows of 64 tokens."""
    for record in _method_file():
        if (record["method"], record["path"]) == (method, "fused") and record["step_ms"] is not None:
            basis = "pocket-llama: steps of 16 rows of 64 tokens, measured on two CPU cores, scaled by rows"
            return Estimate(seconds=record["step_ms"] / 1e3 * rows / 16, bytes=None, basis=(basis,))
    return None


def method_cost(step: Step) -> tuple[float, float, str]:
    """Return the time of a method's step over LoRA's, the bytes it needs beyond LoRA's, and what both rest on."""
    if step.method == "lora":
        return 1.0, 0.0, ""
    if step.trains_all_weights:
        why = f"{step.method}: 1.5 times LoRA's step, counted (gradients of weights are a third product), and "
        return 1.5, _TRAINED_BYTES * parameters(step.model), why + f"{_TRAINED_BYTES} bytes for every weight"
    lora = _nearest(step.model, step.rows, step.tokens, GRAPHED)
    for record in records():
        names = (record["model"], record["method"], record["path"], record["shape"])
        if names == (step.model, step.method, GRAPHED, lora["shape"]):
            ratio = record["step_ms"] / lora["step_ms"]
            extra = 1e9 * (record["peak_gb"] - lora["peak_gb"])
            return (
                ratio,
                extra,
                f"{step.method}: {ratio:.2f} times LoRA's step, measured on {step.model} at {lora['shape']}",
            )
    ratios = _method_records()
    if step.method in ratios:
        ratio = ratios[step.method]
        return ratio, 0.0, f"{step.method}: {ratio:.2f} times LoRA's step, measured on pocket-llama; memory as LoRA's"
    return 1.0, 0.0, f"{step.method}: counted as LoRA, it was not measured"


def _path_words(path: str) -> str:
    return "CUDA graphs" if path == GRAPHED else "PEFT's LoRA as it comes"


@cache
def records() -> tuple[dict[str, Any], ...]:
    """Return the measured steps on one H200."""
    found = json.loads((RESULTS / "efficiency-h200.json").read_text())["records"]
    return tuple(record for record in found if record["error"] is None)


@cache
def _method_file() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads((RESULTS / "step-cost-methods.json").read_text())["records"])


def _method_records() -> dict[str, float]:
    ratios = {record["method"]: record["ratio_to_our_lora"] for record in _method_file() if record["path"] == "fused"}
    return {method: float(ratio) for method, ratio in ratios.items() if ratio is not None}


def _size(shape: str) -> tuple[int, int]:
    rows, tokens = shape.split("x")
    return int(rows), int(tokens)


def _nearest(model: str, rows: int, tokens: int, path: str) -> dict[str, Any]:
    """Return the measured LoRA step that is nearest in tokens of a row, of this model if there is one."""
    method = "lora" if path == GRAPHED else STOCK_LORA
    mine = [r for r in records() if r["method"] == method and r["path"] == path]
    names = {record["model"] for record in mine}
    mine = [record for record in mine if record["model"] == (model if model in names else REFERENCE)]

    def distance(record: dict[str, Any]) -> tuple[float, float]:
        own_rows, own_tokens = _size(record["shape"])
        return abs(math.log(own_tokens / tokens)), abs(math.log(own_rows / rows))

    return min(mine, key=distance)


@cache
def _counted(model: str) -> tuple[float, float]:
    """Return the numbers of weights in linear layers, and of all parameters."""
    made = SHAPES[model].empty(torch.bfloat16)
    linears = sum(m.weight.numel() for m in made.modules() if isinstance(m, nn.Linear))
    return linears, sum(p.numel() for p in made.parameters())


def linear_weights(model: str) -> float:
    """Return the number of weights in a shape's linear layers, the output layer included."""
    return _counted(model)[0]


def parameters(model: str) -> float:
    """Return the number of a shape's parameters."""
    return _counted(model)[1]


def operations(model: str, rows: int, tokens: int) -> float:
    """Return the operations of a forward pass and the gradients of its inputs, linear layers alone.

    Attention between tokens is left out: 3 % at 1,024 tokens of an 8B model.
    """
    return 4 * linear_weights(model) * rows * tokens


@cache
def counted_bytes(model: str, rows: int, tokens: int, rank: int) -> float:
    """Return what `needed_bytes` counts for a shape in bfloat16."""
    shape = SHAPES[model]
    batch = shape.batch(rows, tokens, torch.Generator())
    return needed_bytes(shape.empty(torch.bfloat16), batch, rank=rank, adapted=shape.target_modules)


def sentences(estimates: Sequence[Estimate]) -> list[str]:
    """Return what several estimates rest on, each sentence once."""
    return list(dict.fromkeys(sentence for found in estimates for sentence in found.basis))
