"""What a comparison planned, what of it has no result, and what was found in its folder that could not be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run that the comparison asked for."""

    key: str
    method: str
    task: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A planned run that has no result, and why."""

    planned: Planned
    reason: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something in the store that could not be used: `where` it is, and `what` is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.where}: {self.what}"
