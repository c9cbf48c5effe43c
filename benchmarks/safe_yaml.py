"""Reads YAML that somebody else may have written: plain data, of bounded size and depth, without aliases.

The safe loader makes no objects, but an alias is a pointer: nine lines of lists of aliases stand for a billion entries,
which the first message that prints them would write out. Settings have no need of aliases, so there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import one_line

LARGEST = 64 * 1024
_DEEPEST = 20


class UnsafeYaml(ValueError):
    """A text is no YAML that is read here; the text says why, in a few words."""


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise UnsafeYaml("it has an alias (*name); expected every value written out")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnsafeYaml(f"it is nested more than {_DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def load_yaml(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        UnsafeYaml: If it is too large, too deep, has aliases, or is no YAML.
    """
    if len(text) > LARGEST:
        raise UnsafeYaml(f"it has {len(text)} characters; expected at most {LARGEST}")
    try:
        return yaml.load(text, Loader=_Loader)
    except UnsafeYaml:
        raise
    # Impossible dates and numbers of thousands of digits are ValueErrors; a key that is a list, a TypeError.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UnsafeYaml(one_line(error, most=300)) from None


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; see `load_yaml`.

    Raises:
        OSError: If it cannot be read.
        UnsafeYaml: If it is not UTF-8, or see there.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UnsafeYaml(f"it has more than {LARGEST} bytes")
    try:
        return load_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnsafeYaml(str(error)) from None
