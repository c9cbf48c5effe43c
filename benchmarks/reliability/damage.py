"""Damages good input: values of a JSON tree, bytes of a file, or what kind of thing lies under a name.

Every draw comes from the generator that is handed in, so that an input is made again from its seed and number.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

#: Stands in texts; a page must never show it as it is.
SCRIPT = "<script>alert(1337)</script>"
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, 1e308, -1e308, 5e-324, 2**63, 10**400),
    *(float("nan"), float("inf"), -float("inf")),
    *("", " ", "a", SCRIPT, "x" * 3000, "\x00", "\ud800", "\u202eabc", "a\nb", "a|b|c", "none", "..", "."),
    *("../../../../tmp/outside", "/etc/passwd", "~root", "/dev/zero", "$(touch outside)", "${HOME}", "{{ 7 * 7 }}"),
    *([], {}, [[]], [None], [0, "a"], {"a": {}}, {"": ""}, [1e308, -1e308], ["a"] * 2000),
)
_TEXTS: tuple[bytes, ...] = (
    *(b"", b"{", b"[" * 100_000, b'{"a":' * 50_000, b"null", b"[]", b"NaN", b"1" * 5000, b'"' + b"a" * 100_000),
    *(b"\xff\xfe", b"\x00" * 64, b"\xef\xbb\xbf{}", b"PK\x03\x04" + b"\x00" * 60, b"\x1f\x8b\x08" + b"\x00" * 30),
)

# Beyond this a file is one that has been damaged before, by making it large.
_SMALL = 2**22


class _Bomb:
    """What runs code when it is unpickled: makes a folder that the fuzzer looks for."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("unpickled",)


def pickled() -> bytes:
    """Return a pickle that leaves a trace if it is ever read."""
    return pickle.dumps(_Bomb(), protocol=2)


def damaged_tree(tree: Any, draw: random.Random, *, times: int) -> Any:
    """Return a copy of a JSON tree with some places changed, removed or repeated."""
    copy = json.loads(json.dumps(tree))
    for _ in range(times):
        places = list(_places(copy))
        if not places:
            break
        holder, key = draw.choice(places)
        action = draw.random()
        if action < 0.7:
            holder[key] = deepcopy(draw.choice(_VALUES))
        elif action < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw.choice((SCRIPT, "", "unknown", "x" * 500))] = deepcopy(holder[key])
        else:
            holder.append(deepcopy(holder[key]))
    return copy


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        found.append((tree, key))
        found += _places(tree[key])
    return found


def damaged_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return a file's content cut off, with bytes changed, put in or taken out, or something else entirely."""
    action = draw.random()
    if action < 0.25:
        return content[: draw.randrange(len(content) + 1)]
    if action < 0.4:
        return draw.choice((*_TEXTS, pickled()))
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        place = draw.randrange(len(changed) + 1)
        if draw.random() < 0.5 and place < len(changed):
            changed[place] = draw.randrange(256)
        elif draw.random() < 0.5:
            changed[place:place] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 4, 32))))
        else:
            del changed[place : place + draw.choice((1, 4, 32))]
    return bytes(changed)


def damaged_file(path: Path, draw: random.Random, *, outside: Path) -> None:
    """Damage what lies at a path: its bytes, or put a folder, a link or a file full of nothing in its place."""
    action = draw.random()
    if action < 0.7 and is_small_file(path):
        path.write_bytes(damaged_bytes(path.read_bytes(), draw))
        return
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if action < 0.78:
        path.mkdir()
    elif action < 0.86:
        path.symlink_to(outside / "secret.json")
    elif action < 0.9:
        path.symlink_to(path.name)  # leads to itself
    elif action < 0.95:
        with path.open("wb") as file:
            file.truncate(2**36)  # 64 GiB that take no room


def is_small_file(path: Path) -> bool:
    """Whether a file is there that can be read whole, which one that leads elsewhere or was made large cannot."""
    try:
        # Through a link the fuzzer itself would write outside.
        return not path.is_symlink() and path.is_file() and path.stat().st_size < _SMALL
    except OSError:
        return False


def json_text(tree: Any) -> str:
    """Return a tree as JSON, with what JSON does not have (NaN, halves of characters) as Python writes it."""
    return json.dumps(tree)
