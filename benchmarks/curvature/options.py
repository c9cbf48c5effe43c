"""The flags that the curvature scripts share: a model's shape, the device, the output file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from benchmarks import parsing
from benchmarks.curvature.shapes import LlamaShape
from benchmarks.errors import UsageError


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add --device and --out."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", default=None, metavar="FILE.json", help="file that holds the records")


def add_shape_flags(parser: argparse.ArgumentParser, shape: LlamaShape) -> None:
    """Add one flag for every size of a model."""
    for field in fields(LlamaShape):
        default = str(getattr(shape, field.name))
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, default=default, help=f"model size (default: {default})")


def read_flags(options: argparse.Namespace, readers: Mapping[str, parsing.Reader]) -> dict[str, Any]:
    """Return the checked values of flags, or refuse the first that cannot be used."""
    values = {}
    for name, reader in readers.items():
        raw = getattr(options, name)
        try:
            values[name] = reader(raw)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: found {raw!r}; expected {error}") from None
    return values


def read_shape(options: argparse.Namespace) -> LlamaShape:
    """Return the model's shape."""
    whole = parsing.integer(minimum=1)
    shape = LlamaShape(**read_flags(options, {field.name: whole for field in fields(LlamaShape)}))
    if shape.hidden % shape.heads or (shape.hidden // shape.heads) % 2:
        raise UsageError(f"--heads: found {shape.heads}; expected a divisor of --hidden={shape.hidden} into even parts")
    if shape.heads % shape.kv_heads:
        raise UsageError(f"--kv-heads: found {shape.kv_heads}; expected a divisor of --heads={shape.heads}")
    return shape


def read_device(options: argparse.Namespace) -> torch.device:
    """Return the device that was asked for."""
    name = read_flags(options, {"device": parsing.choice("auto", "cpu", "cuda")})["device"]
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device: found 'cuda', but PyTorch sees no CUDA device; expected auto or cpu here")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def read_out(options: argparse.Namespace) -> Path | None:
    """Return the output file, whose folder must exist."""
    if options.out is None:
        return None
    if Path(options.out).is_dir():
        raise UsageError(f"--out: {options.out} is a folder; expected the name of a file")
    if not Path(options.out).absolute().parent.is_dir():
        raise UsageError(f"--out: the folder of {options.out} does not exist; create it, or choose another")
    return Path(options.out)


def each(reader: parsing.Reader) -> parsing.Reader:
    """Read several values with commas between."""

    def read(raw: Any) -> tuple[Any, ...]:
        return tuple(reader(part) for part in str(raw).split(","))

    return read
