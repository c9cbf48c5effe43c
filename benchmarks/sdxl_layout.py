"""SDXL's folder as diffusers saves it: what must be in it, and whether its parts fit, read from its JSON files alone.

`model_index.json` and seven folders: `unet`, `vae`, two text encoders with their tokenizers, `scheduler`. Weights are
safetensors. Podell et al., SDXL (arXiv 2307.01952).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import CLIPTextConfig

from benchmarks.errors import UsageError, one_line, shortened

INDEX = "model_index.json"
PIPELINE = "StableDiffusionXLPipeline"
#: Parts with weights.
UNET, VAE, TEXT_ENCODERS = "unet", "vae", ("text_encoder", "text_encoder_2")
TOKENIZERS, SCHEDULER = ("tokenizer", "tokenizer_2"), "scheduler"
SCHEDULER_FILE = "scheduler_config.json"
PARTS = (UNET, VAE, *TEXT_ENCODERS, *TOKENIZERS, SCHEDULER)
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
_WEIGHTS = "*.safetensors"
#: What SDXL is told of a picture beside its prompt: original height and width, crop, wanted height and width.
NUMBERS = 6


def is_sdxl(folder: Path) -> bool:
    """Return whether a folder is laid out as a diffusers pipeline, of whatever class and however complete."""
    return (folder / INDEX).is_file() or ((folder / UNET).is_dir() and (folder / VAE).is_dir())


def read_part(folder: Path, part: str) -> dict[str, Any]:
    """Return the configuration of a part, or of the whole folder for an empty name.

    Raises:
        UsageError: If it cannot be read.
    """
    name = {"": INDEX, SCHEDULER: SCHEDULER_FILE}.get(part, "config.json")
    path = folder / part / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--model: {path} cannot be read: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--model: {path} holds a {type(content).__name__}; expected an object")
    return content


def check_sdxl(folder: Path) -> None:
    """Make sure that a folder holds all of an SDXL model, and that its parts fit together.

    Raises:
        UsageError: Naming the part that is missing, or the numbers that do not fit.
    """
    if not (folder / INDEX).is_file():
        raise UsageError(f"--model: {folder} holds no {INDEX}; expected a folder as diffusers' save_pretrained writes")
    pipeline = read_part(folder, "").get("_class_name")
    if pipeline is None:
        raise UsageError(f"--model: {folder / INDEX} names no class of pipeline; expected {PIPELINE}")
    if pipeline != PIPELINE:
        raise UsageError(
            f"--model: {folder} holds a {pipeline}; expected a {PIPELINE}, the one kind of diffusers "
            "pipeline that is trained here"
        )
    for part in PARTS:
        if not (folder / part).is_dir():
            raise UsageError(f"--model: {folder} lacks the folder {part}; an SDXL model has {', '.join(PARTS)}")
    for part in (UNET, VAE, *TEXT_ENCODERS):
        _check_weights(folder, part)
    for part in TOKENIZERS:
        if not any((folder / part / name).is_file() for name in _TOKENIZER_FILES):
            raise UsageError(f"--model: {folder / part} holds no tokenizer ({' or '.join(_TOKENIZER_FILES)})")
    _check_fit(folder)


def _check_weights(folder: Path, part: str) -> None:
    found = sorted((folder / part).glob(_WEIGHTS))
    whole = [path for path in found if ".fp16." not in path.name]
    if found and not whole:
        raise UsageError(
            f"--model: {found[0]} is the variant in 16 bits alone; expected the weights themselves in {part}: load it "
            "with variant='fp16' and save it with save_pretrained"
        )
    for path in whole:
        try:
            with safe_open(path, framework="pt"):
                pass  # opening reads and checks the header
        except (OSError, SafetensorError) as error:
            raise UsageError(f"--model: {path} cannot be read: {one_line(error)}") from None
    if whole:
        return
    pickled = next(iter(sorted((folder / part).glob("*.bin"))), None)
    if pickled is not None:
        raise UsageError(
            f"--model: {pickled} holds pickled weights, which can run any code when they are read; expected "
            f"{part}/{_WEIGHTS}: load it where you trust it, and save it with save_pretrained"
        )
    raise UsageError(f"--model: {folder / part} holds no weights in safetensors format ({_WEIGHTS})")


def _check_fit(folder: Path) -> None:
    unet, vae = read_part(folder, UNET), read_part(folder, VAE)
    # transformers leaves out of a file what is as its class has it.
    first, second = (_text_encoder(folder, part) for part in TEXT_ENCODERS)
    pixels_of_a_latent(folder)
    width = first.hidden_size + second.hidden_size
    if unet.get("cross_attention_dim") != width:
        raise UsageError(
            f"--model: the unet of {folder} reads prompts of width {unet.get('cross_attention_dim')} "
            f"(cross_attention_dim), and its text encoders give {first.hidden_size} and {second.hidden_size}, together "
            f"{width}; they are not of one model"
        )
    pooled = second.projection_dim + NUMBERS * _whole(unet, "addition_time_embed_dim", of=f"the unet of {folder}")
    if unet.get("projection_class_embeddings_input_dim") != pooled:
        raise UsageError(
            f"--model: the unet of {folder} reads {unet.get('projection_class_embeddings_input_dim')} values beside "
            f"the prompt (projection_class_embeddings_input_dim), and text_encoder_2 with {NUMBERS} numbers gives "
            f"{pooled}; they are not of one model"
        )
    if unet.get("in_channels") != vae.get("latent_channels"):
        raise UsageError(
            f"--model: the unet of {folder} takes {unet.get('in_channels')} channels and its vae gives "
            f"{vae.get('latent_channels')}; inpainting models are not trained here"
        )
    predicts = read_part(folder, SCHEDULER).get("prediction_type", "epsilon")
    if predicts not in ("epsilon", "v_prediction"):
        raise UsageError(
            f"--model: the scheduler of {folder} has prediction_type {predicts!r}; expected epsilon or v_prediction"
        )


def _text_encoder(folder: Path, part: str) -> Any:
    try:
        return CLIPTextConfig.from_dict(read_part(folder, part))
    except UsageError:
        raise
    except Exception as error:  # of any class: the values are somebody else's
        raise UsageError(f"--model: the {part} of {folder} cannot be read: {one_line(error)}") from None


def _whole(content: dict[str, Any], name: str, *, of: str, otherwise: str = "") -> int:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"--model: {of} has {name} {shortened(value)}; expected a whole number{otherwise}")
    return value


def pixels_of_a_latent(folder: Path) -> int:
    """Return how many pixels of a side its autoencoder makes one.

    Raises:
        UsageError: If its configuration does not say.
    """
    channels = read_part(folder, VAE).get("block_out_channels")
    if not isinstance(channels, list) or not channels:
        raise UsageError(f"--model: the vae of {folder} has block_out_channels {shortened(channels)}; expected a list")
    return int(2 ** (len(channels) - 1))


def own_resolution(folder: Path) -> int:
    """Return the side of the pictures that a model was made for, in pixels.

    Raises:
        UsageError: If its configuration does not say.
    """
    latents = _whole(
        read_part(folder, UNET), "sample_size", of=f"the unet of {folder}", otherwise="; give --resolution"
    )
    return latents * pixels_of_a_latent(folder)
