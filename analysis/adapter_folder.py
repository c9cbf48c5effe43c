"""Checks the folder of a PEFT adapter before PEFT reads it: see `analysis.weight_files` for what any weights must be.

PEFT's configuration can do more than describe an adapter: it can name other files to load, a Python module to import,
copies of the model's layers to make, or a rank that no memory holds. An adapter whose weights are all in its folder
needs none of that, so each is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError
from analysis.weight_files import Shapes, check_links, check_weights, read_small_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: Adapters whose state is the tensors in their folder. Prompts, X-LoRA and mixtures read tokenizers or other folders.
_KINDS = frozenset(
    {
        *("LORA", "ADALORA", "HIRA", "DELORA", "LOHA", "LOKR", "OFT", "BOFT", "IA3", "VERA", "RANDLORA", "FOURIERFT"),
        *("HRA", "LN_TUNING", "MISS", "BONE", "C3A", "GRALORA", "SHIRA", "ROAD", "WAVEFT"),
    }
)
_RANKED = ("LORA", "HIRA", "DELORA")
#: Key of a LoRA configuration -> what it would do.
_REFUSED = {
    "megatron_config": "imports the Python module that it names",
    "layer_replication": "copies layers of the base",
}


@dataclass(frozen=True, kw_only=True)
class AdapterFolder:
    """What an adapter's folder says of itself.

    Attributes:
        config: Its configuration.
        shapes: Shapes of its tensors by name.
    """

    config: Mapping[str, Any]
    shapes: Shapes


def check_adapter_folder(folder: Path, *, flag: str = "--adapter") -> AdapterFolder:
    """Return what lies in an adapter's folder, read without PEFT.

    Raises:
        AnalysisError: If something is missing, is not what it should be, or asks for what no adapter needs.
    """
    if not folder.is_dir():
        raise AnalysisError(f"{flag}: {folder} is not a folder; expected one that PEFT's save_pretrained wrote")
    check_links(folder, flag=flag)
    if not (folder / CONFIG).is_file():
        raise AnalysisError(f"{flag}: {folder} holds no {CONFIG}; expected a folder that PEFT's save_pretrained wrote")
    config = read_small_json(folder / CONFIG, flag=flag)
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise AnalysisError(
            f"{flag}: {folder} is an adapter of type {repr(kind)[:40]}; expected one whose weights are all in its "
            f"folder: {', '.join(sorted(_KINDS))}"
        )
    for key, what in _REFUSED.items():
        if config.get(key):
            raise AnalysisError(f"{flag}: {folder / CONFIG} sets {key}, which {what}; adapters with it are not read")
    shapes = check_weights(folder, flag=flag, names=WEIGHTS)
    if kind in _RANKED:
        _check_rank(folder, config, shapes, flag=flag)
    return AdapterFolder(config=config, shapes=shapes)


def _check_rank(folder: Path, config: Mapping[str, Any], shapes: Shapes, *, flag: str) -> None:
    """Refuse a rank that no tensor has: PEFT would make factors of that size before it looks at the weights."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    largest = max((min(shape) for shape in shapes.values() if shape), default=0)
    for rank in ranks:
        if isinstance(rank, bool) or not isinstance(rank, int) or not 0 < rank <= largest:
            raise AnalysisError(
                f"{flag}: {folder / CONFIG} says rank {repr(rank)[:40]}; its weights have room for {largest}"
            )
