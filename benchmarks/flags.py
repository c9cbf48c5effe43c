"""The flags that several commands share, and the checked values of flags: found, expected, in one line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import parsing
from benchmarks.errors import UsageError


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add --device and --out."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", default=None, metavar="FILE.json", help="file that holds the records")


def read_flags(options: argparse.Namespace, readers: Mapping[str, parsing.Reader]) -> dict[str, Any]:
    """Return the checked values of flags.

    Raises:
        UsageError: At the first that cannot be used, with what was found and what was expected.
    """
    values = {}
    for name, reader in readers.items():
        raw = getattr(options, name)
        try:
            values[name] = reader(raw)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: found {raw!r}; expected {error}") from None
    return values


def read_device(options: argparse.Namespace) -> torch.device:
    """Return the device that was asked for.

    Raises:
        UsageError: If it is not there.
    """
    name = read_flags(options, {"device": parsing.choice("auto", "cpu", "cuda")})["device"]
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device: found 'cuda', but PyTorch sees no CUDA device; expected auto or cpu here")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def read_out(options: argparse.Namespace) -> Path | None:
    """Return the output file, or None where none was asked for.

    Raises:
        UsageError: If it is a folder, or its folder does not exist.
    """
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
