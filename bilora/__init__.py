"""Sharpness-aware training of LoRA adapters: Bi-LoRA and the methods it is compared with.

Two calls fit any training loop (`attach`, `build_optimizer`); `SharpnessTrainer` drives the same methods inside
`transformers.Trainer`.
"""

from bilora.adapters import AdapterPair, LoraFactors, lora_factors
from bilora.attach import attach
from bilora.methods import Method, MethodError, create_method, method_names
from bilora.optimizer import build_optimizer
from bilora.trainer import SharpnessMixin, SharpnessTrainer

__all__ = [
    "AdapterPair",
    "LoraFactors",
    "Method",
    "MethodError",
    "SharpnessMixin",
    "SharpnessTrainer",
    "attach",
    "build_optimizer",
    "create_method",
    "lora_factors",
    "method_names",
]
