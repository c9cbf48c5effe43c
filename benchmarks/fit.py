"""Whether model, tasks and settings fit together: what can be known from configurations, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from benchmarks.choices import MethodChoice
from benchmarks.errors import UsageError, nearest, one_line
from benchmarks.language import language_kind
from benchmarks.loading import is_classifier
from benchmarks.model_configuration import read_config
from benchmarks.models import medium_of
from benchmarks.sdxl_layout import is_sdxl, own_resolution, pixels_of_a_latent
from benchmarks.settings import CompareSettings
from benchmarks.tasks import Task
from benchmarks.tasks.data_task import DataTask
from benchmarks.tasks.dreambooth import DreamBooth
from bilora.methods import METHODS

_OF_LANGUAGE_MODELS = ("attention", "device_map", "packing", "max_length", "chat_template")
#: What an SDXL has too, and pocket-sdxl has not.
_OF_LARGE_MODELS = ("dtype", "gradient_checkpointing")
#: What an SDXL has alone.
_OF_LATENTS = ("resolution", "clip_model", "caption_model")


def check_fit(
    settings: CompareSettings,
    pairs: Sequence[tuple[Task, str]],
    folders: Mapping[str, Path],
    choices: Sequence[MethodChoice],
) -> None:
    """Refuse what cannot be trained together.

    Args:
        settings: The settings.
        pairs: Every task with the name of its model.
        folders: Where the models lie.
        choices: The methods.

    Raises:
        UsageError: At the first pair that does not fit.
    """
    _check_media(settings, pairs, folders)
    _check_settings(settings, choices)
    configs = {
        model: read_config(folder, trust_remote_code=settings.trust_remote_code)
        for model, folder in folders.items()
        if medium_of(folder) == "text"
    }
    for model, config in configs.items():
        _check_tokenizer(folders[model], config)
    for task, model in pairs:
        if model in configs:
            _check_kind(settings, task, model, configs[model])
    if settings.target_modules != ("all-linear",):
        for folder in folders.values():
            _check_targets(settings, folder)


def _check_media(settings: CompareSettings, pairs: Sequence[tuple[Task, str]], folders: Mapping[str, Path]) -> None:
    for task, model in pairs:
        medium = medium_of(folders[model])
        if medium != task.medium:
            own = (
                f"name one such as {task.suggestion}" if isinstance(task, DataTask) else f"its own base is {task.base}"
            )
            raise UsageError(
                f"--model: {model} answers with a {medium}, and {task.name} asks for a {task.medium}; {own}"
            )
        latent = medium == "picture" and is_sdxl(folders[model])
        if isinstance(task, DreamBooth) and not latent:
            raise UsageError(
                f"--model: {model} has no autoencoder, and {task.name} has pictures of any size; name an SDXL model, "
                f"such as {task.suggestion}"
            )
        if latent and not isinstance(task, DreamBooth):
            raise UsageError(
                f"--model: {task.name} draws its pictures for {task.base}, and {model} is an SDXL; train that on "
                "dreambooth-3d-icons or dreambooth:FOLDER"
            )
        if medium == "picture":
            foreign = (*_OF_LANGUAGE_MODELS, *(() if latent else _OF_LARGE_MODELS))
            for flag in _changed(settings, foreign):
                raise UsageError(f"{flag}: is for language models, and {model} is a text-to-image model; leave it off")
        if latent:
            _check_pictures(settings, model, folders[model])
        else:
            for flag in _changed(settings, _OF_LATENTS):
                raise UsageError(f"{flag}: is for SDXL models, and {model} is none; leave it off")


def _changed(settings: CompareSettings, names: Sequence[str]) -> list[str]:
    """Return the flags of settings that are not at their defaults."""
    defaults = CompareSettings()
    changed = [name for name in names if getattr(settings, name) != getattr(defaults, name)]
    return ["--" + name.replace("_", "-") for name in changed]


def _check_pictures(settings: CompareSettings, model: str, folder: Path) -> None:
    """Refuse a resolution that the autoencoder cannot have, a type that is left open, and a captioner on its own."""
    pixels = pixels_of_a_latent(folder)
    side = own_resolution(folder) if settings.resolution is None else settings.resolution
    if side % pixels:
        near = max(pixels, round(side / pixels) * pixels)
        raise UsageError(
            f"--resolution: found {side}; the autoencoder of {model} makes one latent of {pixels} pixels, so that it "
            f"must be a multiple of {pixels}, such as {near}"
        )
    if settings.dtype == "auto":
        raise UsageError(
            "--dtype: auto takes the type that a language model's configuration names, and SDXL's parts name none; "
            "expected float32, bfloat16 or float16"
        )
    if settings.caption_model is not None and settings.clip_model is None:
        raise UsageError("--caption-model: captions are compared by CLIP; add --clip-model, or leave it off")


def _check_settings(settings: CompareSettings, choices: Sequence[MethodChoice]) -> None:
    if settings.attention == "flash_attention_2":
        if find_spec("flash_attn") is None:
            raise UsageError(
                "--attention: flash_attention_2 needs the package flash-attn, which is not installed; sdpa and eager "
                "need none"
            )
        if settings.dtype == "float32":
            raise UsageError("--attention: flash_attention_2 computes in 16 bits; add --dtype bfloat16")
        if settings.measure:
            raise UsageError(
                "--attention: flash_attention_2 has no second derivatives, which curvature needs; add --measure false, "
                "and measure the saved adapters later with python -m analysis.measure"
            )
    whole = [choice.label for choice in choices if METHODS[choice.method].trains_all_weights]
    if settings.dtype == "float16" and whole:
        raise UsageError(
            f"--dtype: {whole[0]} trains the weights themselves, and float16 loses its updates; take float32 or "
            "bfloat16"
        )
    if settings.gradient_checkpointing and settings.cuda_graphs:
        raise UsageError("--gradient-checkpointing: cannot be recorded in CUDA graphs; leave one of the two off")
    if settings.packing and settings.steps is None:
        raise UsageError(
            "--packing: how many rows are left is known only once everything is tokenised, so epochs cannot be counted "
            "before; add --steps"
        )
    if settings.packing and settings.cuda_graphs:
        raise UsageError("--packing: where examples end changes from step to step, which CUDA graphs cannot follow")


def _check_tokenizer(folder: Path, config: Any) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for: it belongs to another model."""
    file, known = folder / "tokenizer.json", getattr(config.get_text_config(), "vocab_size", None)
    if known is None or not file.is_file():
        return
    try:
        vocabulary = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    except Exception as error:  # of the Rust library, which has no class of its own for it
        raise UsageError(f"--model: {file} cannot be read: {one_line(error, most=200)}") from None
    token, last = max(vocabulary.items(), key=lambda entry: entry[1], default=("", -1))
    if last >= known:
        raise UsageError(
            f"--model: {folder} holds a tokenizer of another model: its token {token!r} has the number {last}, and "
            f"config.json says that there are {known}"
        )


def _check_kind(settings: CompareSettings, task: Task, model: str, config: Any) -> None:
    if is_classifier(config):
        if not task.labels:
            raise UsageError(
                f"--model: {model} is a classifier, and {task.name} asks for a text; choose a task with labels "
                "(glue-..., superglue-...) or a model that writes"
            )
        if settings.packing:
            raise UsageError(f"--packing: is for decoders, and {model} is a classifier; leave it off")
    elif settings.packing and config.is_encoder_decoder:
        raise UsageError(f"--packing: is for decoders, and {model} is an encoder-decoder; leave it off")
    if settings.packing and (settings.max_length or task.recipe.max_length) is None:
        raise UsageError(f"--packing: {task.name} has no length of its own; add --max-length")


def _check_targets(settings: CompareSettings, folder: Path) -> None:
    """Look the names up in the model's skeleton, which has no weights."""
    model = _skeleton(settings, folder)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for wanted in settings.target_modules:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in linear):
            leaves = list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in linear))
            raise UsageError(
                f"--target-modules: {wanted!r} is no linear layer of {folder.name}{nearest(wanted, leaves)}; "
                f"it has {', '.join(leaves)}, or all-linear"
            )


def _skeleton(settings: CompareSettings, folder: Path) -> Any:
    if medium_of(folder) == "picture":
        from benchmarks.diffusion.folder import skeleton

        return skeleton(folder)
    config = read_config(folder, trust_remote_code=settings.trust_remote_code)
    kind: Any = AutoModelForSequenceClassification if is_classifier(config) else language_kind(config).model_class
    try:
        with torch.device("meta"):
            return kind.from_config(config, trust_remote_code=settings.trust_remote_code)
    except Exception as error:  # of any class: the values are somebody else's
        raise UsageError(f"--model: {folder} cannot be built from its configuration: {one_line(error)}") from None
