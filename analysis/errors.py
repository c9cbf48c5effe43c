"""The errors that this package raises, all of them `ValueError`s with a remedy in the text.

One family lets a command line catch `AnalysisError` and print one line, while a mistake inside the package still
shows its traceback. Each message says what was found, what was expected and which argument to change.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or nothing where none is near."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class AnalysisError(ValueError):
    """Something that the caller can put right; the text says how."""


class ObjectiveError(AnalysisError):
    """The batches or the loss do not define one finite, repeatable number."""


class SpaceError(AnalysisError):
    """The model does not have the parameter space that was asked for."""


class DirectionError(AnalysisError):
    """A direction does not move the weights, so no multiple of it has the wanted length."""


class SecondDerivativeError(AnalysisError):
    """An operation of the model cannot be differentiated twice."""


class SettingsError(AnalysisError):
    """A setting is outside its range."""
