"""A grid of losses that survives being stopped: a file written after every point, and read at the next start.

The file names what it is a grid of: positions, space, the loss at the centre, and a signature of each direction. The
same call goes on where it stopped; a file of anything else is refused by the first of these that differs, since a
grid mixed from two models looks like a landscape and is none. A hash of the directions would differ after any rounding,
and their tensors are as large as the model; norms and inner products with random vectors agree between machines.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis import vectors
from analysis.errors import SettingsError
from analysis.spaces import ParameterSpace

# What a direction or a loss may differ by between two machines.
_ROUNDING = 1e-4


class GridFile:
    """Values at the points of a grid, None where there is none yet.

    Args:
        path: A JSON file, or None to keep the values in memory only.
        settings: What the grid is of. A stored file must agree: numbers up to rounding, but positions exactly.
        shape: Rows and columns.

    Attributes:
        values: values[row][column].

    Raises:
        SettingsError: The file is not a grid, or is one of other settings, or its folder does not exist.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], shape: tuple[int, int]) -> None:
        self.path = path
        self.values: list[list[float | None]] = [[None] * shape[1] for _ in range(shape[0])]
        self._settings = dict(settings)
        if path is not None and not path.parent.is_dir():
            raise SettingsError(f"store={path}: there is no folder {path.parent}; make it first")
        if path is not None and path.exists():
            self.values = self._read(path)

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Points without a value, row by row."""
        return [(i, j) for i, row in enumerate(self.values) for j, value in enumerate(row) if value is None]

    def put(self, row: int, column: int, value: float) -> None:
        """Store one value, in the file too."""
        self.values[row][column] = value
        if self.path is None:
            return
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(json.dumps({"settings": self._settings, "values": self.values}), encoding="utf-8")
        os.replace(partial, self.path)

    def complete(self) -> tuple[tuple[float, ...], ...]:
        """Return the values once no point is missing."""
        return tuple(tuple(value for value in row if value is not None) for row in self.values)

    def _read(self, path: Path) -> list[list[float | None]]:
        """Return the stored values if they belong to these settings."""
        way_out = "give another store=, or delete the file"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            stored = dict(found["settings"])
            values = [[None if value is None else float(value) for value in row] for row in found["values"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SettingsError(f"{path} is not a stored grid; {way_out}") from None
        for name, value in self._settings.items():
            if not _agree(stored.get(name), value, exact=name in ("alphas", "betas")):
                raise SettingsError(
                    f"{path} is a grid with {name} = {_short(stored.get(name))}, now it is {_short(value)}; {way_out}"
                )
        if [len(row) for row in values] != [len(row) for row in self.values]:
            shape = f"{len(self.values)} x {len(self.values[0])}"
            raise SettingsError(f"{path} is not a stored grid of {shape} points; {way_out}")
        return values


def open_grid(
    path: Path | None,
    space: ParameterSpace,
    *,
    loss: float,
    alphas: Sequence[float],
    betas: Sequence[float],
    directions: Sequence[Sequence[Tensor]],
) -> GridFile:
    """Return the grid of a line (one alpha) or a plane, with the values of an earlier call if there are any.

    Args:
        path: Its file, or None.
        space: The space that is cut, entered.
        loss: L at the centre.
        alphas: Positions of the rows.
        betas: Positions of the columns.
        directions: The vectors that span it.

    Raises:
        SettingsError: See `GridFile`.
    """
    shape = (len(alphas), len(betas))
    if path is None:
        return GridFile(None, {}, shape)
    settings = {
        "alphas": list(alphas),
        "betas": list(betas),
        "space": space.name,
        "loss": loss,
        "directions": [_signature(space, direction) for direction in directions],
    }
    return GridFile(path, settings, shape)


def _signature(space: ParameterSpace, direction: Sequence[Tensor]) -> list[float]:
    """Return ||d|| and <d, z> with three standard normal vectors z of the space, over ||d||."""
    length = vectors.norm(direction)
    probes = (space.random_direction(seed=index, stream="signature") for index in range(3))
    return [length, *(vectors.dot(direction, probe) / max(length, 1e-300) for probe in probes)]


def _agree(stored: Any, wanted: Any, *, exact: bool) -> bool:
    """Whether two settings are the same, numbers up to rounding unless `exact`."""
    if isinstance(stored, list) and isinstance(wanted, list):
        return len(stored) == len(wanted) and all(
            _agree(a, b, exact=exact) for a, b in zip(stored, wanted, strict=True)
        )
    if isinstance(stored, float) and isinstance(wanted, float) and not exact:
        return math.isclose(stored, wanted, rel_tol=_ROUNDING)
    return bool(stored == wanted)


def _short(value: Any) -> str:
    """Return a setting as text of a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
