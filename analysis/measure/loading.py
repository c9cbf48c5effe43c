"""Loads what is measured: a model folder, or a base with a PEFT adapter on it, and a Bi-LoRA auxiliary if there is one.

Weights are read from safetensors only, and no code of a model folder is run. The architecture in the configuration
says which kind of model it is. A checkpoint of this project's Trainer carries the auxiliary factors in
`method_state.safetensors`; they are loaded as a second adapter, `auxiliary`, that is off.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.adapter_folder import CONFIG, AdapterFolder, check_adapter_folder
from analysis.errors import AnalysisError
from analysis.spaces.adapted import AUXILIARY
from analysis.weight_files import check_links, check_weights

METHOD_STATE = "method_state.safetensors"
# An adapter that keeps a head or embeddings whole stays far below this many times its base.
_LARGEST_SHARE = 4
# PyTorch's words where a matrix of the file has another shape than that of the model.
_OTHER_SHAPE = re.compile(
    r"size mismatch for (?P<name>\S+): copying a param with shape torch\.Size\((?P<its>\[.*?\])\) from checkpoint, "
    r"the shape in current model is torch\.Size\((?P<needed>\[.*?\])\)"
)
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to be measured.

    Attributes:
        model: The model, its adapter active.
        tokenizer: Its tokenizer, or None if the folder holds none.
        kind: `causal`, `seq2seq` or `classification`.
        auxiliary: Whether an auxiliary adapter was loaded.
    """

    model: nn.Module
    tokenizer: Any
    kind: str
    auxiliary: bool


def load(model: str | None, adapter: str | None, *, dtype: torch.dtype, device: torch.device) -> LoadedModel:
    """Load a model, an adapter on its base, or both.

    Args:
        model: Folder or name; None takes the base that the adapter names.
        adapter: Folder of a PEFT adapter; None measures the model alone.
        dtype: Type of the weights.
        device: Where they go.

    Raises:
        AnalysisError: A folder is missing or cannot be read, or the adapter does not fit the base.
    """
    # The small folder is looked at before the large one is read.
    found = None if adapter is None else check_adapter_folder(Path(adapter))
    source = model or _named_base(Path(str(adapter)), found)
    loaded, kind = _base(source, dtype=dtype)
    tokenizer = _tokenizer(source)
    auxiliary = False
    if adapter is not None and found is not None:
        loaded = _with_adapter(loaded, Path(adapter), found)
        auxiliary = _add_auxiliary(loaded, Path(adapter))
    return LoadedModel(loaded.to(device).eval(), tokenizer, kind, auxiliary)


def _named_base(adapter: Path, found: AdapterFolder | None) -> str:
    """Return the base model that an adapter's configuration names."""
    base = None if found is None else found.config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise AnalysisError(f"--adapter: {adapter / CONFIG} names no base model; name it with --model")
    return base


def _base(source: str, *, dtype: torch.dtype) -> tuple[Any, str]:
    from transformers import (  # heavy, and needed by the command alone
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
        logging,
    )

    logging.disable_progress_bar()
    kinds = {
        "seq2seq": AutoModelForSeq2SeqLM,
        "classification": AutoModelForSequenceClassification,
        "causal": AutoModelForCausalLM,
    }
    if Path(source).is_dir():
        check_links(Path(source), flag="--model")
        check_weights(Path(source), flag="--model")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        names = " ".join(config.architectures or [])
        kind = (
            "classification"
            if "SequenceClassification" in names
            else "seq2seq"
            if config.is_encoder_decoder
            else "causal"
        )
        return kinds[kind].from_pretrained(source, dtype=dtype, use_safetensors=True, trust_remote_code=False), kind
    except Exception as error:  # of any class: the values are somebody else's
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise AnalysisError(f"--model: {source} cannot be loaded: {reason}") from None


def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception:  # of any class: its files are somebody else's
        return None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def misfit(error: Exception) -> str:
    """Return in one line why PEFT could not put an adapter on a base: the first matrix that differs, or its words."""
    words = " ".join(str(error).split())
    found = _OTHER_SHAPE.search(words)
    if found is None:
        return words[:300] or type(error).__name__
    name = found["name"].removeprefix("base_model.model.").replace(".default", "")
    return (
        f"{name} has the shape {found['its']}, and this base needs {found['needed']}; "
        "name the adapter's own base with --model"
    )


def _with_adapter(base: Any, folder: Path, found: AdapterFolder) -> Any:
    """Put an adapter on its base; PEFT loads what fits and is silent about what does not, so that is checked."""
    from peft import PeftModel

    size, own_size = (sum(map(math.prod, found.shapes.values())), sum(p.numel() for p in base.parameters()))
    if size > _LARGEST_SHARE * own_size:
        raise AnalysisError(
            f"--adapter: {folder} has {size} weights, and the base {own_size}; it is no adapter of this base"
        )
    try:
        model = PeftModel.from_pretrained(base, str(folder), use_safetensors=True)
    except Exception as error:  # of any class: the values are somebody else's
        raise AnalysisError(f"--adapter: {folder} does not fit the base model: {misfit(error)}") from None
    own = {name.replace(".default", "") for name in model.state_dict()}
    missing = [name for name in found.shapes if name not in own]
    if missing:
        raise AnalysisError(
            f"--adapter: {folder} does not fit the base model: it has {missing[0]} and {len(missing) - 1} more weights "
            "that the base has no place for; name the adapter's own base with --model"
        )
    return model


def _add_auxiliary(model: Any, folder: Path) -> bool:
    """Load the auxiliary factors of a Bi-LoRA checkpoint as an adapter that is off; returns whether there were any."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import load_file

    path = folder / METHOD_STATE
    state = load_file(path) if path.is_file() and check_weights(folder, flag="--adapter", names=METHOD_STATE) else {}
    factors = {name: value for name, value in state.items() if name.endswith((".A", ".B"))}
    primary = model.peft_config["default"]
    if not factors or not isinstance(primary, LoraConfig):
        return False
    first = next((value for name, value in factors.items() if name.endswith(".A")), None)
    if first is None:
        raise AnalysisError(f"--adapter: {path} holds no factor A, only B; expected both of every layer")
    rank = first.shape[0] if first.dim() else 1
    config = LoraConfig(r=rank, lora_alpha=primary.lora_alpha, target_modules=primary.target_modules)
    model.add_adapter(AUXILIARY, config)
    layers = dict(model.named_modules())
    for name, value in factors.items():
        layer = layers.get(name[:-2])
        if not isinstance(layer, LoraLayer) or AUXILIARY not in layer.lora_A:
            raise AnalysisError(f"--adapter: {path} holds factors of {name[:-2]}, which the model does not adapt")
        weight = (layer.lora_A if name.endswith(".A") else layer.lora_B)[AUXILIARY].weight
        if weight.shape != value.shape:
            raise AnalysisError(
                f"--adapter: {path}: {name} has shape {tuple(value.shape)}, and the model {tuple(weight.shape)}"
            )
        with torch.no_grad():
            weight.copy_(value)
        layer.scaling[AUXILIARY] = layer.scaling["default"]
    return True
