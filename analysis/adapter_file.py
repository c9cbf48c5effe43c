"""The factors of a LoRA adapter as PEFT stores it, read from its folder without PEFT and without the model.

Trajectories and comparisons of adapters need the factors of many checkpoints, not many models. What is not
a plain LoRA change s B A of every layer is refused by name: DoRA, other adapter types, scalings that differ by pattern.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from analysis.adapter_folder import CONFIG, WEIGHTS, check_adapter_folder
from analysis.errors import SettingsError
from analysis.low_rank import Factors

_LARGEST_ALPHA = 1e9


def read_adapter(folder: Path) -> dict[str, Factors]:
    """Return the factors (A, B, s) of every adapted layer, by the layer's name in the PEFT model, sorted.

    Names are those of the full space: `[found[name] for name in space.names]` is in the order of its blocks.

    Args:
        folder: Holds `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        AnalysisError: A file is missing or is not what it should be.
        SettingsError: The adapter is not a plain LoRA adapter.
    """
    found = check_adapter_folder(folder, flag="adapter")
    config = found.config
    refused = [name for name in ("use_dora", "alpha_pattern") if config.get(name)]
    if config["peft_type"] != "LORA" or refused:
        kind = refused[0] if refused else config["peft_type"]
        raise SettingsError(f"{folder} is not a plain LoRA adapter ({kind}); its change is not s B A with one alpha")
    alpha = config.get("lora_alpha")
    # JSON's whole numbers have no end, a float's have.
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < _LARGEST_ALPHA:
        raise SettingsError(f"{folder / CONFIG} has lora_alpha {repr(alpha)[:40]}; expected a number")
    tensors = load_file(folder / WEIGHTS)
    factors = {}
    for key in sorted(tensors):
        name, separator, _ = key.partition(".lora_A.")
        if not separator:
            continue
        a, b = tensors[key], tensors.get(key.replace(".lora_A.", ".lora_B."))
        if b is None or a.dim() != 2 or b.dim() != 2 or len(a) != b.shape[1]:
            raise SettingsError(f"{folder / WEIGHTS}: {key} has no lora_B of the same rank; save the adapter anew")
        rank = len(a)
        scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)
        factors[name] = (a, b, float(scaling))
    if not factors:
        raise SettingsError(f"{folder / WEIGHTS} holds no lora_A; expected the weights of a LoRA adapter")
    return factors
