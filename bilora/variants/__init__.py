"""Adapter variants, and how their names combine with those of methods."""

from bilora.variants.base import AdapterVariant, VariantError
from bilora.variants.combinations import check_combination
from bilora.variants.delora import DeLora
from bilora.variants.hira import HiRa
from bilora.variants.lora import DoraVariant, LoraVariant
from bilora.variants.lora_ga import LoraGa
from bilora.variants.names import ResolvedName, resolve_name, split_name
from bilora.variants.pissa import Pissa
from bilora.variants.registry import VARIANTS, create_variant, variant_names

__all__ = [
    "VARIANTS",
    "AdapterVariant",
    "DeLora",
    "DoraVariant",
    "HiRa",
    "LoraGa",
    "LoraVariant",
    "Pissa",
    "ResolvedName",
    "VariantError",
    "check_combination",
    "create_variant",
    "resolve_name",
    "split_name",
    "variant_names",
]
