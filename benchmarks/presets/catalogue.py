"""The presets by name: one file each beside this one, found by its own name and by those of its other tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.errors import UsageError, nearest
from benchmarks.presets.preset import Preset, make_preset
from benchmarks.presets.reading import read_preset_file

FOLDER = Path(__file__).parent


def canonical_names() -> list[str]:
    """Return the names of the presets in the order of the paper; files that others are based on are none."""
    names = (path.stem for path in FOLDER.glob("*.yaml") if not path.name.startswith("_"))
    return sorted(names, key=_place)


def _place(name: str) -> tuple[bool, bool, int, str]:
    number = name.split("-")[0].removeprefix("table").removeprefix("figure")
    appendix = number.startswith("A")
    return name.startswith("figure"), appendix, int(number.removeprefix("A")), name


@cache
def load(name: str) -> Preset:
    """Return the preset of a file."""
    return make_preset(name, read_preset_file(FOLDER / f"{name}.yaml"))


def find_preset(name: str) -> Preset:
    """Return a preset by its name, or by the name of another table that the same runs give.

    Raises:
        UsageError: If there is none of that name; names the nearest one and lists all.
    """
    presets = {own: load(own) for own in canonical_names()}
    if name in presets:
        return presets[name]
    others = {other: preset for preset in presets.values() for other in preset.also}
    if name in others:
        return others[name]
    known = [*presets, *others]
    raise UsageError(f"--preset: unknown preset {name!r}{nearest(name, known)}; known: {', '.join(known)}")


def sources() -> dict[str, list[str]]:
    """Return which presets give a table or figure, by its name."""
    found: dict[str, list[str]] = {}
    for name in canonical_names():
        for source in load(name).source:
            found.setdefault(source, []).append(name)
    return found
