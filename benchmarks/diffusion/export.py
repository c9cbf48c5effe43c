"""An adapter of SDXL's UNet as diffusers' pipelines load it: `pipeline.load_lora_weights(FOLDER)`.

PEFT's own file names its weights from the UNet on, diffusers' names them from the pipeline on and carries the
adapter's settings inside: without those a pipeline would take alpha for the rank.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionXLPipeline
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file

_PREFIX = "base_model.model."


def export_for_diffusers(adapter: Path) -> None:
    """Write `pytorch_lora_weights.safetensors` beside a LoRA adapter in PEFT's format; others have no such file.

    Args:
        adapter: Folder of the adapter; of fully trained weights, of the model.
    """
    if not (adapter / "adapter_config.json").is_file():
        return
    config = PeftConfig.from_pretrained(adapter)
    if not isinstance(config, LoraConfig):
        return
    weights = load_file(adapter / "adapter_model.safetensors")
    StableDiffusionXLPipeline.save_lora_weights(
        adapter,
        unet_lora_layers={name.removeprefix(_PREFIX): value for name, value in weights.items()},
        unet_lora_adapter_metadata=config.to_dict(),
    )
