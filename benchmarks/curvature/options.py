"""The flags of a model's shape, and their check."""

from __future__ import annotations

import argparse
from dataclasses import fields

from benchmarks import parsing
from benchmarks.curvature.shapes import LlamaShape
from benchmarks.errors import UsageError
from benchmarks.flags import read_flags


def add_shape_flags(parser: argparse.ArgumentParser, shape: LlamaShape) -> None:
    """Add one flag for every size of a model."""
    for field in fields(LlamaShape):
        default = str(getattr(shape, field.name))
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, default=default, help=f"model size (default: {default})")


def read_shape(options: argparse.Namespace) -> LlamaShape:
    """Return the model's shape.

    Raises:
        UsageError: If a size is no whole number, or heads do not divide evenly.
    """
    whole = parsing.integer(minimum=1)
    shape = LlamaShape(**read_flags(options, {field.name: whole for field in fields(LlamaShape)}))
    if shape.hidden % shape.heads or (shape.hidden // shape.heads) % 2:
        raise UsageError(f"--heads: found {shape.heads}; expected a divisor of --hidden={shape.hidden} into even parts")
    if shape.heads % shape.kv_heads:
        raise UsageError(f"--kv-heads: found {shape.kv_heads}; expected a divisor of --heads={shape.heads}")
    return shape
