"""Where a model comes from: the ones that ship with the project by name, any other as a folder or from the hub.

A language model lies in its folder as transformers saves it, SDXL in one as diffusers saves it (`sdxl_layout`); a
pocket text-to-image model has `unet`, `text_encoder` and `tokenizer` alone.

Weights are read from safetensors only, and no code of a model folder is run unless that is asked for. The fingerprint
of a model's files is part of a run's key, so that a model that changes under an old name is a new model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.weight_files import check_links, check_weights, read_small_json
from benchmarks.errors import UsageError, nearest
from benchmarks.hub import fetch, is_hub_name
from benchmarks.model_configuration import read_config
from benchmarks.sdxl_layout import INDEX, PARTS, check_sdxl, is_sdxl
from benchmarks.tasks import Medium

SHIPPED = Path(__file__).parent / "pocket" / "models"
# Beyond this size a file's name, size and both ends identify it; hashing all of an 8B model would take a minute.
_WHOLE_FILE_BYTES = 64 * 2**20
_END_BYTES = 2**20
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_HASHED = {".json", ".safetensors", ".model", ".jinja", ".txt", ".py"}


def shipped_models() -> list[str]:
    """Return the names of the models that ship with the project."""
    configurations = ("config.json", "unet/config.json")
    return sorted(f.name for f in SHIPPED.iterdir() if any((f / name).is_file() for name in configurations))


def medium_of(folder: Path) -> Medium:
    """Return what a model in a folder answers with."""
    return "picture" if is_sdxl(folder) or (folder / "unet" / "config.json").is_file() else "text"


def locate_model(name: str, *, trust_remote_code: bool = False) -> Path:
    """Return the folder of a shipped model, of a user's own, or of one from the hub, which is fetched if need be.

    Args:
        name: Name of a shipped model, a folder, or OWNER/NAME on the hub.
        trust_remote_code: Let the model's configuration run code of its repository.

    Raises:
        UsageError: If the folder is missing, holds no model, no tokenizer or no safetensors weights.
    """
    folder = SHIPPED / name if name in shipped_models() else Path(name).expanduser()
    # Path.is_dir raises for a name that is too long; this does not.
    if not os.path.isdir(folder):
        if not is_hub_name(name):
            shipped = shipped_models()
            raise UsageError(
                f"--model: {name!r} is neither a folder nor a shipped model{nearest(name, shipped)}; "
                f"shipped: {', '.join(shipped)}; names on the hub are OWNER/NAME"
            )
        folder = fetch(name, code=trust_remote_code)
    if medium_of(folder) == "picture":
        _check_text_to_image(folder)
        return folder
    _check_language_model(folder)
    read_config(folder, trust_remote_code=trust_remote_code)
    return folder


def check_files(folder: Path, *, flag: str = "--model") -> None:
    """Refuse a folder whose weights are no safetensors, whose links lead out of it, or whose configuration is no JSON.

    Raises:
        UsageError: With the file and the reason.
    """
    try:
        check_links(folder, flag=flag)
        if (folder / "config.json").is_file():
            read_small_json(folder / "config.json", flag=flag)
        if any(path.suffix in _WEIGHTS for path in folder.iterdir()):
            check_weights(folder, flag=flag)
    except AnalysisError as error:
        raise UsageError(str(error)) from None


def _check_language_model(folder: Path) -> None:
    check_files(folder)
    for patterns, what in (
        (("config.json",), "a model configuration (config.json)"),
        (_TOKENIZERS, "a tokenizer (tokenizer.json)"),
        (("*.safetensors",), "weights in safetensors format (*.safetensors)"),
    ):
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            raise UsageError(f"--model: {folder} does not hold {what}; save the model with save_pretrained")


def _check_text_to_image(folder: Path) -> None:
    if find_spec("diffusers") is None:
        raise UsageError(
            f"--model: {folder.name} is a text-to-image model and needs diffusers; install it with pip install "
            "'bilora[sdxl]'"
        )
    if is_sdxl(folder):
        check_sdxl(folder)
        return
    patterns = [f"{part}/{file}" for part in ("unet", "text_encoder") for file in ("config.json", "*.safetensors")]
    for pattern in (*patterns, "tokenizer/tokenizer.json"):
        if not any(folder.glob(pattern)):
            raise UsageError(f"--model: {folder} holds a unet but no {pattern}; save all parts, as diffusers does")
    for part in ("unet", "text_encoder"):
        check_files(folder / part)


def fingerprint(folder: Path) -> str:
    """Return a hash of the configuration, tokenizer and weights in a model folder (16 hex digits)."""
    parts: tuple[str, ...] = ("unet", "text_encoder", "tokenizer") if medium_of(folder) == "picture" else ("",)
    parts = PARTS if is_sdxl(folder) else parts
    files = [path for part in parts for path in (folder / part).iterdir()]
    files += [folder / INDEX] if is_sdxl(folder) else []
    return fingerprint_of(sorted(p for p in files if p.suffix in _HASHED), folder=folder)


def fingerprint_of(paths: Sequence[Path], *, folder: Path) -> str:
    """Return a hash of files in a folder, by name and content (16 hex digits)."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}:{size}:".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_FILE_BYTES:
                digest.update(file.read())
            else:
                digest.update(file.read(_END_BYTES))
                file.seek(-_END_BYTES, 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]
