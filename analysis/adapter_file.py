"""The factors of a LoRA adapter as PEFT stores it, read from its folder without PEFT and without the model.

Trajectories and comparisons of adapters need the factors of many checkpoints, not many models. What is not
a plain LoRA change s B A of every layer is refused by name: DoRA, other adapter types, scalings that differ by pattern.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file

from analysis.errors import SettingsError
from analysis.low_rank import Factors


def read_adapter(folder: Path) -> dict[str, Factors]:
    """Return the factors (A, B, s) of every adapted layer, by the layer's name in the PEFT model, sorted.

    Names are those of the full space: `[found[name] for name in space.names]` is in the order of its blocks.

    Args:
        folder: Holds `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        SettingsError: A file is missing, or the adapter is not a plain LoRA adapter.
    """
    config_path, weights_path = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            raise SettingsError(f"{folder} has no {path.name}; expected the folder of a PEFT adapter")
    config = json.loads(config_path.read_text(encoding="utf-8"))
    refused = [name for name in ("use_dora", "alpha_pattern") if config.get(name)]
    if config.get("peft_type") != "LORA" or refused:
        kind = refused[0] if refused else config.get("peft_type")
        raise SettingsError(f"{folder} is not a plain LoRA adapter ({kind}); its change is not s B A with one alpha")
    tensors = load_file(weights_path)
    found = {}
    for key in sorted(tensors):
        name, separator, _ = key.partition(".lora_A.")
        if not separator:
            continue
        a, b = tensors[key], tensors[key.replace(".lora_A.", ".lora_B.")]
        rank = len(a)
        scaling = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
        found[name] = (a, b, float(scaling))
    if not found:
        raise SettingsError(f"{weights_path} holds no lora_A; expected the weights of a LoRA adapter")
    return found
