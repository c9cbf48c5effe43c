"""Loads a model with its linear layers in 4 bits (NF4), ready for adapters.

QLoRA (Dettmers et al., NeurIPS 2023, arXiv 2305.14314) stores each frozen weight in the 4-bit NormalFloat type with
doubly quantised constants, and unpacks it for every product. Methods and variants that would have to write to the base,
or to differentiate with respect to it, are refused there by name, see `bilora.variants.check_combination`. Needs
bitsandbytes (`pip install 'bilora[qlora]'`), which also runs on the CPU.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from peft import prepare_model_for_kbit_training
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def nf4_config(*, compute_dtype: torch.dtype = torch.bfloat16) -> BitsAndBytesConfig:
    """Return the configuration of NF4 with double quantisation.

    Args:
        compute_dtype: In what a weight is unpacked and multiplied.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def load_nf4(
    folder: str | Path,
    *,
    model_class: Any = AutoModelForCausalLM,
    compute_dtype: torch.dtype = torch.bfloat16,
    gradient_checkpointing: bool = False,
    **options: Any,
) -> Any:
    """Load a pretrained model with NF4 weights, frozen, its norms in fp32, ready for an adapter.

    Args:
        folder: Folder or name of the pretrained model.
        model_class: Class whose `from_pretrained` loads it.
        compute_dtype: See `nf4_config`.
        gradient_checkpointing: Recompute activations in the backward pass.
        **options: Passed on to `from_pretrained`, for example `device_map`.

    Returns:
        The model, in evaluation mode as `from_pretrained` leaves it; nothing of it is trained.

    Raises:
        ImportError: If bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError("a 4-bit base needs bitsandbytes; install it with: pip install 'bilora[qlora]'")
    configuration = nf4_config(compute_dtype=compute_dtype)
    model = model_class.from_pretrained(folder, quantization_config=configuration, **options)
    _keep_layout(model)
    prepared = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if gradient_checkpointing:
        # Not by the call above, which uses a name that goes in transformers 6.
        prepared.enable_input_require_grads()
        enable = getattr(prepared, "activation_checkpointing_enable", None) or prepared.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return prepared


def _keep_layout(model: nn.Module) -> None:
    """Keep bitsandbytes from re-packing weights on the CPU when a model is evaluated.

    2026-11, bitsandbytes 0.50: the other layout has no gradient with respect to the input and is not undone when
    training goes on, so that after one evaluation gradients would silently miss all that flows through the base.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
