"""What a method can be asked to do: typed options with a help line, checked before anything is attached.

Values are brought into one type when they are checked (1 and 1.0 are one radius), since they become part of a
run's identity. A value that cannot be used is refused with what was found and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any


class MethodError(ValueError):
    """A method or one of its options cannot be used as asked; the message says what was expected."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest known name, or nothing where none is near."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f", did you mean {matches[0]!r}?" if matches else ""


Reader = Callable[[Any], Any]


def nonnegative(value: Any) -> float:
    """Read a finite number of at least zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("a finite number >= 0")
    return float(value)


def positive_integer(value: Any) -> int:
    """Read a whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("an integer >= 1")
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def between(low: float, high: float, *, low_allowed: bool = True, high_allowed: bool = True) -> Reader:
    """Read a number of the interval from `low` to `high`; each end belongs to it unless said otherwise."""
    interval = f"{'[' if low_allowed else '('}{low:g}, {high:g}{']' if high_allowed else ')'}"

    def read(value: Any) -> float:
        inside = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not inside or (value == low and not low_allowed) or (value == high and not high_allowed):
            raise ValueError(f"a number in {interval}")
        return float(value)

    return read


def one_of(*allowed: str) -> Reader:
    """Read one of the allowed words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(value)

    return read


def optional(reader: Reader) -> Reader:
    """Also accept None, and the word "none"."""

    def read(value: Any) -> Any:
        return None if value is None or value == "none" else reader(value)

    return read


def option(default: Any, reader: Reader, help_text: str) -> Any:
    """Declare an option: its default, how a value is read and checked, and its one-line help."""
    return field(default=default, metadata={"reader": reader, "help": help_text})


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Options of a method; subclasses declare fields with `option`."""

    def __post_init__(self) -> None:
        """Check every value and bring it into its type, so that 1 and 1.0 are one setting.

        Raises:
            MethodError: Naming the first option whose value cannot be used.
        """
        for entry in fields(self):
            value = getattr(self, entry.name)
            try:
                object.__setattr__(self, entry.name, entry.metadata["reader"](value))
            except ValueError as error:
                raise MethodError(f"option {entry.name} is {value!r}; expected {error}") from None


def option_names(options_class: type[MethodOptions]) -> list[str]:
    """Return the names of a method's options."""
    return [f.name for f in fields(options_class)]
