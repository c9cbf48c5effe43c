"""Where a model comes from: the ones that ship with the project by name, any other as a folder.

A language model lies in its folder as transformers saves it; a text-to-image model has `unet`, `text_encoder` and
`tokenizer` in folders of their own, as in diffusers.

Weights are read from safetensors only, and no code of a model folder is ever run. The fingerprint of a model's
files is part of a run's key, so that a model that changes under an old name is a new model.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer

from benchmarks.architecture import Architecture
from benchmarks.errors import UsageError, nearest
from benchmarks.language import LanguageModel, language_kind
from benchmarks.tasks import Medium
from bilora.quantised import load_nf4

SHIPPED = Path(__file__).parent / "pocket" / "models"
# Beyond this size a file's name, size and both ends identify it; hashing all of an 8B model would take a minute.
_WHOLE_FILE_BYTES = 64 * 2**20
_END_BYTES = 2**20


def shipped_models() -> list[str]:
    """Return the names of the models that ship with the project."""
    configurations = ("config.json", "unet/config.json")
    return sorted(f.name for f in SHIPPED.iterdir() if any((f / name).is_file() for name in configurations))


def medium_of(folder: Path) -> Medium:
    """Return what a model in a folder answers with."""
    return "picture" if (folder / "unet" / "config.json").is_file() else "text"


def locate_model(name: str) -> Path:
    """Return the folder of a shipped model or of a user's own.

    Raises:
        UsageError: If the folder is missing, holds no model, no tokenizer or no safetensors weights.
    """
    folder = SHIPPED / name if name in shipped_models() else Path(name)
    # Path.is_dir raises for a name that is too long; this does not.
    if not os.path.isdir(folder):
        shipped = shipped_models()
        raise UsageError(
            f"--model: {name!r} is neither a folder nor a shipped model{nearest(name, shipped)}; "
            f"shipped: {', '.join(shipped)}"
        )
    if medium_of(folder) == "picture":
        _check_text_to_image(folder)
        return folder
    for pattern, what in (
        ("config.json", "a model configuration (config.json)"),
        ("tokenizer.json", "a tokenizer (tokenizer.json)"),
        ("*.safetensors", "weights in safetensors format (*.safetensors)"),
    ):
        if not any(folder.glob(pattern)):
            raise UsageError(f"--model: {folder} does not hold {what}; save the model with save_pretrained")
    try:
        AutoConfig.from_pretrained(folder, local_files_only=True)
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt"):
                pass  # opening reads and checks the header
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UsageError(f"--model: {folder} cannot be read: {' '.join(str(error).split())}") from None
    return folder


def _check_text_to_image(folder: Path) -> None:
    if find_spec("diffusers") is None:
        raise UsageError(
            f"--model: {folder.name} is a text-to-image model and needs diffusers; install it with pip install "
            "'bilora[sdxl]'"
        )
    patterns = [f"{part}/{file}" for part in ("unet", "text_encoder") for file in ("config.json", "*.safetensors")]
    for pattern in (*patterns, "tokenizer/tokenizer.json"):
        if not any(folder.glob(pattern)):
            raise UsageError(f"--model: {folder} holds a unet but no {pattern}; save all parts, as diffusers does")


def fingerprint(folder: Path) -> str:
    """Return a hash of the configuration, tokenizer and weights in a model folder (16 hex digits)."""
    digest = hashlib.sha256()
    parts = ("unet", "text_encoder", "tokenizer") if medium_of(folder) == "picture" else ("",)
    files = (path for part in parts for path in (folder / part).iterdir())
    for path in sorted(p for p in files if p.suffix in {".json", ".safetensors"}):
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


def open_model(folder: Path, *, device: torch.device, quantize: str | None = None) -> tuple[Any, Architecture]:
    """Load a model of any kind in fp32, with what reads its inputs.

    Args:
        folder: Folder of the model.
        device: Where it goes.
        quantize: "nf4" keeps a language model's linear weights in 4 bits, and multiplies in fp32.

    Raises:
        UsageError: If the folder cannot be read as what it looks like.
    """
    if medium_of(folder) == "text":
        model, tokenizer = load_model(folder, device=device, quantize=quantize)
        return model, LanguageModel(model.config, tokenizer)
    # diffusers is an extra.
    from benchmarks.diffusion.architecture import TextToImage
    from benchmarks.diffusion.folder import load_base

    try:
        unet, encode = load_base(folder, device=device)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"--model: {folder} cannot be loaded as a text-to-image model: {reason}") from None
    return unet, TextToImage(unet.config, encode)


def load_model(folder: Path, *, device: torch.device, quantize: str | None = None) -> tuple[Any, Any]:
    """Load a language model, a decoder or an encoder-decoder, in fp32 and its tokenizer from a folder.

    Args:
        folder: Folder of the model.
        device: Where it goes.
        quantize: "nf4" keeps the linear weights in 4 bits, and multiplies in fp32.

    Raises:
        UsageError: If the folder cannot be read as a language model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
        model_class = language_kind(AutoConfig.from_pretrained(folder, local_files_only=True)).model_class
        if quantize is None:
            model = model_class.from_pretrained(folder, **options).to(device)
        else:
            options |= {"model_class": model_class, "device_map": {"": device}}
            model = load_nf4(folder, compute_dtype=torch.float32, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"--model: {folder} cannot be loaded as a language model: {reason}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer
