"""Opens a model from its folder, of whatever kind, with what reads its inputs.

Weights go straight to the run's device, or with a device map to all GPUs of the machine, layers in order. Adapters and
their optimizer are float32 whatever the type of the frozen weights, and lie where their layers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.architecture import Architecture
from benchmarks.classification import SequenceClassifier
from benchmarks.errors import UsageError, first_line
from benchmarks.judge_models import locate_judge
from benchmarks.language import LanguageModel, language_kind
from benchmarks.model_configuration import read_config
from benchmarks.models import medium_of
from benchmarks.sdxl_layout import is_sdxl, own_resolution
from benchmarks.spec import RunSpec
from bilora.quantised import load_nf4

_CLASSIFIERS = ("ForSequenceClassification", "ForMaskedLM")


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is opened; the fields are those of `RunSpec`.

    Attributes:
        labels: Number of classes, for a classifier.
        seed: Of a classifier's head where the checkpoint has none.
        resolution: Side of pictures in pixels; None takes the model's own.
        clip_model: What scores drawn pictures, or None; a folder or a name on the hub.
        caption_model: What captions them, or None; likewise.
    """

    quantize: str | None = None
    dtype: str = "float32"
    attention: str | None = None
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False
    device_map: str | None = None
    chat_template: str = "auto"
    max_length: int | None = None
    evaluation_batch_size: int | None = None
    labels: int = 0
    seed: int = 0
    resolution: int | None = None
    clip_model: str | None = None
    caption_model: str | None = None


def load_options(spec: RunSpec, *, labels: int) -> LoadOptions:
    """Return what a run says about its model."""
    return LoadOptions(
        quantize=spec.quantize,
        dtype=spec.dtype,
        attention=spec.attention,
        gradient_checkpointing=spec.gradient_checkpointing,
        trust_remote_code=spec.trust_remote_code,
        device_map=spec.device_map,
        chat_template=spec.chat_template,
        max_length=spec.max_length,
        evaluation_batch_size=spec.evaluation_batch_size,
        labels=labels,
        seed=spec.seed,
        resolution=spec.resolution,
        clip_model=spec.clip_model,
        caption_model=spec.caption_model,
    )


def is_classifier(config: Any) -> bool:
    """Return whether a configuration is a classifier's, or of an encoder alone, which becomes one."""
    return any(name.endswith(_CLASSIFIERS) for name in config.architectures or ())


def open_model(folder: Path, *, device: torch.device, options: LoadOptions | None = None) -> tuple[Any, Architecture]:
    """Load a model of any kind, with what reads its inputs.

    Args:
        folder: Folder of the model.
        device: Where it goes.
        options: How; of text-to-image models, pocket-sdxl is fp32 as it comes.

    Raises:
        UsageError: If the folder cannot be read as what it looks like.
    """
    options = LoadOptions() if options is None else options
    if medium_of(folder) == "text":
        model, tokenizer = load_model(folder, device=device, options=options)
        if options.gradient_checkpointing:
            _checkpoint(model)
        rows = {"max_length": options.max_length, "batch_size": options.evaluation_batch_size}
        if is_classifier(model.config):
            return model, SequenceClassifier(tokenizer, **rows)
        chat = options.chat_template == "auto" and bool(tokenizer.chat_template)
        return model, LanguageModel(model.config, tokenizer, chat=chat, **rows)
    try:
        return _open_sdxl(folder, device, options) if is_sdxl(folder) else _open_pocket(folder, device)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, UsageError | torch.cuda.OutOfMemoryError):
            raise
        reason = first_line(error)
        raise UsageError(f"--model: {folder} cannot be loaded as a text-to-image model: {reason}") from None


def _open_pocket(folder: Path, device: torch.device) -> tuple[Any, Architecture]:
    # diffusers is an extra.
    from benchmarks.diffusion.architecture import TextToImage
    from benchmarks.diffusion.folder import load_base

    unet, encode = load_base(folder, device=device)
    return unet, TextToImage(unet.config, encode)


def _open_sdxl(folder: Path, device: torch.device, options: LoadOptions) -> tuple[Any, Architecture]:
    from benchmarks.diffusion.latent_architecture import Judges, LatentTextToImage
    from benchmarks.diffusion.sdxl import load_sdxl

    unet, around = load_sdxl(folder, device=device, dtype=getattr(torch, options.dtype))
    if options.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    judges = None
    if options.clip_model is not None:
        caption = options.caption_model
        judges = Judges(
            clip=locate_judge(options.clip_model, flag="--clip-model"),
            captioner=None if caption is None else locate_judge(caption, flag="--caption-model"),
        )
    side = options.resolution or own_resolution(folder)
    return unet, LatentTextToImage(unet, around, side=side, judges=judges, batch_size=options.evaluation_batch_size)


def load_model(
    folder: Path, *, device: torch.device, options: LoadOptions | None = None, tokenizer_folder: Path | None = None
) -> tuple[Any, Any]:
    """Load a decoder, an encoder-decoder or a classifier and its tokenizer from a folder; fp32 unless asked otherwise.

    Args:
        folder: Folder of the model.
        device: Where it goes.
        options: How.
        tokenizer_folder: Where its tokenizer is, if elsewhere.

    Raises:
        UsageError: If the folder cannot be read as such a model.
    """
    options = LoadOptions() if options is None else options
    given = {"local_files_only": True, "trust_remote_code": options.trust_remote_code}
    config = read_config(folder, trust_remote_code=options.trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder or folder, **given)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        model = _load(folder, config, device, options, given)
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = first_line(error)
        raise UsageError(f"--model: {folder} cannot be loaded as a language model: {reason}") from None
    if is_classifier(config):
        # A decoder that classifies looks for its last token, which padding follows.
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _load(folder: Path, config: Any, device: torch.device, options: LoadOptions, given: dict[str, Any]) -> Any:
    dtype: Any = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
    given = {**given, "dtype": dtype, "use_safetensors": True}
    if options.attention is not None:
        given["attn_implementation"] = options.attention
    if is_classifier(config):
        model_class: Any = AutoModelForSequenceClassification
        given |= {"num_labels": options.labels, "ignore_mismatched_sizes": True} if options.labels else {}
        torch.manual_seed(options.seed)
    else:
        model_class = language_kind(config).model_class
    if options.quantize is None and device.type == "cpu":
        return model_class.from_pretrained(folder, **given).to(device)
    given["device_map"] = options.device_map or {"": device}
    if options.quantize is None:
        model = model_class.from_pretrained(folder, **given)
    else:
        compute = torch.float32 if dtype == "auto" else dtype
        model = load_nf4(folder, compute_dtype=compute, model_class=model_class, **given)
    _check_on_devices(getattr(model, "hf_device_map", {}))
    return model


def _check_on_devices(places: dict[str, Any]) -> None:
    """Refuse a map that leaves layers in host memory or on a disk, from where a training step cannot use them.

    Raises:
        UsageError: With the first of them, and what to do.
    """
    outside = [(name or "the model", place) for name, place in places.items() if str(place) in ("cpu", "disk")]
    if outside:
        raise UsageError(
            f"--device-map: the GPUs have no room for {len(outside)} parts of the model (the first, {outside[0][0]}, "
            f"would lie on {outside[0][1]}); take --dtype bfloat16, --quantize nf4 or more GPUs"
        )


def _checkpoint(model: Any) -> None:
    # transformers 6 will know the first name alone.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
