"""Training methods behind one interface and one registry."""

from bilora.methods.base import Method
from bilora.methods.bilora import BiLora, BiLoraOptions
from bilora.methods.lora import Lora
from bilora.methods.options import MethodError, MethodOptions
from bilora.methods.registry import METHODS, create_method, method_names
from bilora.methods.sam import LoraSam, SamOptions
from bilora.methods.window import Window

__all__ = [
    "METHODS",
    "BiLora",
    "BiLoraOptions",
    "Lora",
    "LoraSam",
    "Method",
    "MethodError",
    "MethodOptions",
    "SamOptions",
    "Window",
    "create_method",
    "method_names",
]
