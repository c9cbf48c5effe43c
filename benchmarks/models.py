"""Where a model comes from: the ones that ship with the project by name, any other as a folder.

Weights are read from safetensors only, and no code of a model folder is ever run. The fingerprint of a model's
files is part of a run's key, so that a model that changes under an old name is a new model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer

from benchmarks.architecture import architecture_of
from benchmarks.errors import UsageError, nearest
from bilora.quantised import load_nf4

SHIPPED = Path(__file__).parent / "pocket" / "models"
# Beyond this size a file's name, size and both ends identify it; hashing all of an 8B model would take a minute.
_WHOLE_FILE_BYTES = 64 * 2**20
_END_BYTES = 2**20


def shipped_models() -> list[str]:
    """Return the names of the models that ship with the project."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if (folder / "config.json").is_file())


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


def fingerprint(folder: Path) -> str:
    """Return a hash of the configuration, tokenizer and weights in a model folder (16 hex digits)."""
    return fingerprint_of(sorted(p for p in folder.iterdir() if p.suffix in {".json", ".safetensors"}))


def fingerprint_of(paths: Sequence[Path]) -> str:
    """Return a hash of files, by name and content (16 hex digits)."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_FILE_BYTES:
                digest.update(file.read())
            else:
                digest.update(file.read(_END_BYTES))
                file.seek(-_END_BYTES, 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]


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
        model_class = architecture_of(AutoConfig.from_pretrained(folder, local_files_only=True)).model_class
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
