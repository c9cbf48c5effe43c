"""Reads single settings, from a flag's text or from a YAML value, and says what was expected when it cannot.

Each function makes a reader: a callable that takes the raw value and returns the setting's value, or raises
`ValueError` with a description of what it would have accepted. The caller knows the flag and adds it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from benchmarks.safe_yaml import UnsafeYaml, load_yaml

Reader = Callable[[Any], Any]
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?s")


def setting(default: Any, reader: Reader, help_text: str, *, metavar: str = "N") -> Any:
    """Declare a setting as a field of a dataclass: its default, how it is read, and its line of help."""
    metadata = {"reader": reader, "help": help_text, "metavar": metavar}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def integer(*, minimum: int) -> Reader:
    """Read a whole number of at least `minimum`."""

    def read(raw: Any) -> int:
        value = _scalar(raw)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(f"a whole number of at least {minimum}")
        return value

    return read


def number(*, minimum: float, exclusive: bool = False, maximum: float = math.inf) -> Reader:
    """Read a finite number in [minimum, maximum], or above `minimum` if it is exclusive."""

    def read(raw: Any) -> float:
        value = _number(_scalar(raw))
        below = value is None or not math.isfinite(value) or value < minimum or (exclusive and value == minimum)
        if value is None or below or value > maximum:
            bound = f"above {minimum:g}" if exclusive else f"of at least {minimum:g}"
            raise ValueError(f"a number {bound}" + (f" and at most {maximum:g}" if math.isfinite(maximum) else ""))
        return value

    return read


def interval(raw: Any) -> str | int:
    """Read a number of steps, or of seconds as in "60s"."""
    if isinstance(raw, str) and _SECONDS.fullmatch(raw.strip()):
        return raw.strip()
    try:
        return int(integer(minimum=1)(raw))
    except ValueError:
        raise ValueError('a number of steps of at least 1, or seconds as in "60s"') from None


def names(raw: Any) -> tuple[str, ...]:
    """Read one name or more: a list, or a text with commas."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    if (
        not isinstance(parts, Sequence)
        or not all(isinstance(part, str) and part.strip() for part in parts)
        or not parts
    ):
        raise ValueError("one name or more, separated by commas")
    found = tuple(part.strip() for part in parts)
    if len(set(found)) < len(found):
        raise ValueError("every name once")
    return found


def text(raw: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("a name or a path")
    return raw


def path(raw: Any) -> Path:
    """Read a path."""
    try:
        return Path(text(raw)).expanduser()
    except RuntimeError:
        raise ValueError("a path whose home folder exists") from None


def choice(*allowed: str) -> Reader:
    """Read one of the allowed words."""

    def read(raw: Any) -> str:
        if raw not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(raw)

    return read


def switch(raw: Any) -> bool:
    """Read true or false."""
    value = _scalar(raw)
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def method_options(raw: Any) -> dict[str, dict[str, Any]]:
    """Read options of methods: METHOD.OPTION=VALUE with commas between, or a mapping of mappings."""
    expected = "METHOD.OPTION=VALUE, separated by commas (in YAML: a mapping of methods to their options)"
    if isinstance(raw, dict):
        if not all(isinstance(name, str) and isinstance(values, dict) for name, values in raw.items()):
            raise ValueError(expected)
        return {name: dict(values) for name, values in raw.items()}
    options: dict[str, dict[str, Any]] = {}
    for part in str(raw).split(","):
        target, equals, value = part.partition("=")
        method, dot, option = target.strip().rpartition(".")
        if not (equals and dot and method and option):
            raise ValueError(expected)
        # YAML reads 1e-3 as a text, unlike 1.0e-3; people type both.
        scalar = _scalar(value)
        parsed = _number(scalar)
        options.setdefault(method, {})[option] = parsed if isinstance(scalar, str) and parsed is not None else scalar
    return options


def optional(reader: Reader) -> Reader:
    """Also accept "none"."""

    def read(raw: Any) -> Any:
        return None if raw is None or raw in ("none", "None", "null") else reader(raw)

    return read


def _scalar(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return load_yaml(raw)
    except UnsafeYaml:
        return raw


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
