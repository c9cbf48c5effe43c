"""Directions in a safetensors file, so that another model is cut along the very same ones.

An eigenvector or a gradient belongs to one model; plots of several models along their own directions do not compare. A
file keeps named directions block by block, with the space's name and the blocks' names in order, and is refused for a
space of other blocks by the first that differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from analysis.errors import DirectionError
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector, working_dtype

_FORMAT = "analysis-directions-1"


def save_directions(path: Path, space: ParameterSpace, directions: Mapping[str, Sequence[Tensor]]) -> None:
    """Write named directions of a space; the file appears complete or not at all.

    Args:
        path: A .safetensors file.
        space: The space that the directions are vectors of.
        directions: Vectors of the space by name, such as `random-0`, `gradient`, `top-1`.

    Raises:
        DirectionError: There is no direction, or one does not have the space's blocks.
    """
    if not directions:
        raise DirectionError("there are no directions to save")
    tensors = {}
    for name, blocks in directions.items():
        if [tuple(block.shape) for block in blocks] != [tuple(tensor.shape) for tensor in space.tensors]:
            raise DirectionError(f"direction {name!r} does not have the blocks of the {space.name} space")
        for index, block in enumerate(blocks):
            tensors[f"{name}/{index}"] = block.detach().cpu().contiguous()
    header = {"space": space.name, "blocks": list(space.names), "directions": list(directions)}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"format": _FORMAT, "header": json.dumps(header)})
    os.replace(partial, path)


def load_directions(path: Path, space: ParameterSpace) -> dict[str, Vector]:
    """Return the directions of a file by name, as vectors of the space, in its types and on its devices.

    Args:
        path: A file that `save_directions` wrote.
        space: A space with the same name and the same blocks, of this or of another model.

    Raises:
        DirectionError: The file is missing or of another kind, or its blocks are not those of the space.
    """
    if not path.is_file():
        raise DirectionError(f"there is no file of directions {path}")
    with ExitStack() as stack:
        try:
            file: Any = stack.enter_context(safe_open(path, framework="pt"))
        except SafetensorError:
            raise DirectionError(f"{path} is no file of directions; expected one written by save_directions") from None
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise DirectionError(f"{path} is no file of directions; expected one written by save_directions")
        header = json.loads(metadata["header"])
        _check_blocks(path, header, space)
        found = {}
        for name in header["directions"]:
            blocks = []
            for index, tensor in enumerate(space.tensors):
                block = file.get_tensor(f"{name}/{index}")
                if block.shape != tensor.shape:
                    raise DirectionError(
                        f"{path}: block {space.names[index]} has shape {tuple(block.shape)}, but {tuple(tensor.shape)} "
                        "in this model"
                    )
                blocks.append(block.to(tensor.device, working_dtype(tensor.dtype)))
            found[name] = blocks
    return found


def _check_blocks(path: Path, header: Mapping[str, object], space: ParameterSpace) -> None:
    """Refuse a file of another space, naming the first block that differs."""
    if header["space"] != space.name:
        raise DirectionError(f"{path} holds directions of the {header['space']} space, not of the {space.name} space")
    stored, own = header["blocks"], list(space.names)
    assert isinstance(stored, list)
    if stored != own:
        differing = [(a, b) for a, b in zip(stored, own, strict=False) if a != b]
        what = f"; it has {differing[0][0]!r} where this model has {differing[0][1]!r}" if differing else ""
        raise DirectionError(f"{path} has directions of {len(stored)} blocks, this model's {len(own)}{what}")
