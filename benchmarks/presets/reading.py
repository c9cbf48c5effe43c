"""Reads the YAML files of the presets: safely, of bounded size, each on top of the one that it is based on.

A file may name another one (`based_on`) whose keys it takes over. Mappings are joined key by key (settings, their
options, our choices); everything else is replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError
from benchmarks.safe_yaml import UnsafeYaml, read_yaml

_KEYS = ("based_on", "description", "source", "also", "settings", "cases", "parts", "published", "our_choice")


def read_preset_file(path: Path) -> dict[str, Any]:
    """Return the keys of a preset's file with those that it takes over.

    Raises:
        UsageError: If a file cannot be read, is too large, is no mapping, has unknown keys, or bases on itself.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path in above:
        raise UsageError(f"--preset: {path.name} is based on itself, by {' and '.join(p.name for p in above)}")
    content = _load(path)
    base = content.pop("based_on", None)
    if base is None:
        return content
    if not isinstance(base, str) or Path(base).name != base:
        raise UsageError(f"--preset: {path.name} is based on {base!r}; expected the name of a file beside it")
    return joined(_read(path.with_name(f"{base}.yaml"), (*above, path)), content)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UsageError(f"--preset: {path} cannot be read: {error.strerror}") from None
    except UnsafeYaml as error:
        raise UsageError(f"--preset: {path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--preset: {path} holds a {type(content).__name__}; expected 'key: value' lines")
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise UsageError(f"--preset: {path} has unknown key {unknown[0]!r}; known: {', '.join(_KEYS)}")
    return content


def joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return two mappings as one, the second one's values where both have a key; mappings in them likewise."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = joined(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
