"""Training methods behind one interface and one registry."""

from bilora.methods.base import Method
from bilora.methods.bilora import BiLora, BiLoraOptions
from bilora.methods.lora import Lora
from bilora.methods.options import MethodError, MethodOptions
from bilora.methods.registry import METHODS, create_method, method_names
from bilora.methods.sam import LoraSam, LoraSamOptions

__all__ = [
    "METHODS",
    "BiLora",
    "BiLoraOptions",
    "Lora",
    "LoraSam",
    "LoraSamOptions",
    "Method",
    "MethodError",
    "MethodOptions",
    "create_method",
    "method_names",
]
