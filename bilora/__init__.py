"""Sharpness-aware training of LoRA adapters: Bi-LoRA and the methods it is compared with.

Two calls fit any training loop (`attach`, `build_optimizer`); `SharpnessTrainer` drives the same methods inside
`transformers.Trainer`.
"""

from bilora.adapters import AdapterPair
from bilora.attach import attach
from bilora.compiled import compile_layers
from bilora.effective import effective_change
from bilora.factors import LoraFactors, lora_factors
from bilora.flat import FlatAdamW
from bilora.graphed import GraphedBackward
from bilora.methods import Method, MethodError, create_method, method_names
from bilora.optimizer import build_optimizer
from bilora.quantised import load_nf4
from bilora.recording import GraphError
from bilora.trainer import SharpnessMixin, SharpnessTrainer
from bilora.variants import VariantError, check_combination, create_variant, resolve_name, variant_names

__all__ = [
    "AdapterPair",
    "FlatAdamW",
    "GraphError",
    "GraphedBackward",
    "LoraFactors",
    "Method",
    "MethodError",
    "SharpnessMixin",
    "SharpnessTrainer",
    "VariantError",
    "attach",
    "build_optimizer",
    "check_combination",
    "compile_layers",
    "create_method",
    "create_variant",
    "effective_change",
    "load_nf4",
    "lora_factors",
    "method_names",
    "resolve_name",
    "variant_names",
]
