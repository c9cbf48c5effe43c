"""The models that judge pictures, `--clip-model` and `--caption-model`: where they lie, checked before any work."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.hub import fetch, is_hub_name
from benchmarks.model_configuration import read_config
from benchmarks.models import fingerprint_of

_KEPT = {".json", ".safetensors", ".txt"}


def locate_judge(name: str, *, flag: str) -> Path:
    """Return the folder of a CLIP model or of a captioner, which is fetched from the hub if need be.

    Args:
        name: A folder, or OWNER/NAME on the hub.
        flag: `--clip-model` or `--caption-model`.

    Raises:
        UsageError: If it is no such model, or is not complete.
    """
    folder = Path(name).expanduser()
    if not os.path.isdir(folder):
        if not is_hub_name(name):
            raise UsageError(f"{flag}: {name!r} is no folder; expected one, or OWNER/NAME on the hub")
        try:
            folder = fetch(name)
        except UsageError as error:
            raise UsageError(str(error).replace("--model", flag, 1)) from None
    for pattern, what in (
        ("config.json", "a model configuration"),
        ("*.safetensors", "weights in safetensors format"),
        ("preprocessor_config.json", "what prepares its pictures"),
        ("tokenizer*", "a tokenizer"),
    ):
        if not any(folder.glob(pattern)) and not (pattern[0] == "p" and (folder / "processor_config.json").is_file()):
            raise UsageError(f"{flag}: {folder} does not hold {what} ({pattern}); save model and processor there")
    kind = read_config(folder, flag=flag).model_type
    if flag == "--clip-model" and kind != "clip":
        raise UsageError(
            f"{flag}: {folder} is a model of type {kind!r}; expected 'clip', a CLIPModel such as "
            "openai/clip-vit-base-patch32"
        )
    if flag == "--caption-model" and not _captions(kind):
        raise UsageError(
            f"{flag}: {folder} is a model of type {kind!r}, which writes no text about pictures; expected one such as "
            "Salesforce/blip-image-captioning-large"
        )
    return folder


def _captions(kind: str) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def judge_fingerprint(folder: Path) -> str:
    """Return a hash of a judge's files (16 hex digits)."""
    return fingerprint_of(sorted(path for path in folder.iterdir() if path.suffix in _KEPT), folder=folder)
