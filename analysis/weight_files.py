"""What is looked at in a folder of weights before any library opens it: safetensors are read, never a pickle.

A pickle runs whatever code it holds when it is read, so one is refused by what it is and not by its name alone; an
index may name nothing but safetensors files beside it; and links may not lead out of the folder, except into the hub's
cache, where every file is one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from analysis.errors import AnalysisError

Shapes = dict[str, tuple[int, ...]]

#: A configuration or an index is smaller than this by far.
LARGEST_JSON = 16 * 2**20
# The list of tensors in front of a safetensors file; ten thousand tensors take one megabyte.
_LARGEST_HEADER = 32 * 2**20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
# What torch.save writes (a zip archive, or a bare pickle of protocol 2 and later), and other archives.
_DISGUISES = {b"PK\x03\x04": "a zip archive, as torch.save writes", b"\x80": "a pickle", b"\x1f\x8b": "a gzip archive"}
_REASON = "which can run any code when it is read; weights are read from safetensors only"


def read_small_json(path: Path, *, flag: str) -> dict[str, Any]:
    """Return the object in a JSON file of bounded size and depth.

    Raises:
        AnalysisError: If there is none.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise AnalysisError(f"{flag}: {path} has {size} bytes; expected at most {LARGEST_JSON}")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnalysisError(f"{flag}: {path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise AnalysisError(f"{flag}: {path} is nested too deeply") from None
    except ValueError as error:  # of JSON, of its encoding, or of a number with thousands of digits
        raise AnalysisError(f"{flag}: {path} is not valid JSON: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, dict):
        raise AnalysisError(f"{flag}: {path} holds a {type(found).__name__}; expected an object")
    return found


def check_links(folder: Path, *, flag: str) -> None:
    """Refuse links that lead out of a folder; those of the hub's cache lead to the blobs of their own repository.

    Raises:
        AnalysisError: Naming the link.
    """
    allowed = [folder.resolve()]
    if folder.absolute().parent.name == "snapshots":
        allowed.append(folder.resolve().parent.parent / "blobs")
    try:
        for path in folder.iterdir():
            if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
                raise AnalysisError(f"{flag}: {path} is a link out of its folder; copy the file there instead")
    except (OSError, RuntimeError) as error:
        raise AnalysisError(f"{flag}: {folder} cannot be read: {error}") from None


def check_weights(folder: Path, *, flag: str, names: str = "*.safetensors") -> Shapes:
    """Return the shapes of all tensors in a folder's safetensors files, having read their headers alone.

    Args:
        folder: The folder.
        flag: The flag that named it, for messages.
        names: Which files hold weights.

    Raises:
        AnalysisError: If it holds a pickle and no safetensors, or a file that is not what its name says.
    """
    files = sorted(folder.glob(names))
    if not files:
        pickled = next((path for pattern in _PICKLES for path in sorted(folder.glob(pattern))), None)
        if pickled is not None:
            raise AnalysisError(
                f"{flag}: {pickled} holds its weights as a pickle, {_REASON}: load it where you trust it, and save it "
                "again with save_pretrained"
            )
        raise AnalysisError(f"{flag}: {folder} holds no {names}; save it with save_pretrained")
    for index in folder.glob("*.index.json"):
        if index.name.endswith(".safetensors.index.json"):
            _check_index(index, flag=flag)
    shapes: Shapes = {}
    for path in files:
        shapes |= _shapes(path, flag=flag)
    return shapes


def _check_index(path: Path, *, flag: str) -> None:
    places = read_small_json(path, flag=flag).get("weight_map")
    if not isinstance(places, dict):
        raise AnalysisError(f"{flag}: {path} has no weight_map; save the model again with save_pretrained")
    for name in places.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise AnalysisError(
                f"{flag}: {path} names {str(name)[:80]!r}; expected *.safetensors files beside it: weights are read "
                "from nothing else"
            )


def _shapes(path: Path, *, flag: str) -> Shapes:
    try:
        with path.open("rb") as file:
            start = file.read(8)
        disguise = next((what for magic, what in _DISGUISES.items() if start.startswith(magic)), None)
        length = int.from_bytes(start, "little")
        # A header's length may begin with the byte that a pickle begins with; what it says is then still a length.
        if disguise is not None and length > min(_LARGEST_HEADER, path.stat().st_size):
            raise AnalysisError(f"{flag}: {path} is {disguise}, {_REASON}")
        if length > _LARGEST_HEADER:
            raise AnalysisError(f"{flag}: {path} is no safetensors file: its header would have {length} bytes")
        with safe_open(path, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except OSError as error:
        raise AnalysisError(f"{flag}: {path} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise AnalysisError(f"{flag}: {path} is no safetensors file: {' '.join(str(error).split())[:200]}") from None
