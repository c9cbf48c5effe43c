"""Means of what a method logs between two log lines, kept on the device so that a step never waits for it."""

from __future__ import annotations

from torch import Tensor


class RunningMeans:
    """Means of scalar tensors between two logs."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one value of `name` (a scalar tensor)."""
        value = value.detach().float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def pop(self) -> dict[str, float]:
        """Return the means since the last call and start anew. This is the one place that waits for the device."""
        means = {name: (total / self._counts[name]).item() for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means
