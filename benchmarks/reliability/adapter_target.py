"""Damaged folders of adapters, as `analysis.measure` and `benchmarks.score` read them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from analysis import AnalysisError
from analysis.adapter_file import read_adapter
from benchmarks.errors import UsageError
from benchmarks.harness.subjects import adapter_subjects
from benchmarks.reliability.damage import (
    damaged_bytes,
    damaged_file,
    damaged_tree,
    json_text,
)
from benchmarks.reliability.target import ACCEPTED, REFUSED, Target, refusal


class AdapterTarget(Target):
    """Folders of adapters, for what `analysis.measure` and `benchmarks.score` read of them."""

    name = "adapter folders"
    share = 0.3

    def __init__(self, folder: Path, outside: Path) -> None:
        super().__init__(folder, outside)
        self._good = folder / "adapter"
        write_small_adapter(self._good)

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`."""
        adapter = place / "adapter"
        shutil.copytree(self._good, adapter)
        config, weights = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
        action = draw.random()
        if action < 0.5:
            tree = json.loads(config.read_text())
            config.write_text(json_text(damaged_tree(tree, draw, times=draw.choice((1, 1, 2)))))
        elif action < 0.85:
            damaged_file(weights, draw, outside=self.outside)
        else:
            damaged_file(config, draw, outside=self.outside)
        if draw.random() < 0.1:
            weights.unlink(missing_ok=True) if not weights.is_dir() else weights.rmdir()
            (adapter / "adapter_model.bin").write_bytes(damaged_bytes(b"\x80\x02.", draw))
        answers = []
        for read in (read_adapter, lambda folder: adapter_subjects([folder], model="pocket-llama", quantize=None)):
            try:
                read(adapter)
                answers.append(ACCEPTED)
            except (AnalysisError, UsageError) as error:
                answers.append(refusal(error))
        return ACCEPTED if ACCEPTED in answers else REFUSED


def write_small_adapter(folder: Path) -> None:
    """Write a LoRA adapter of rank 2 on two layers."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"base_model.model.model.layers.0.self_attn.{name}.lora_{part}.weight": torch.randn(shape, generator=generator)
        for name in ("q_proj", "v_proj")
        for part, shape in (("A", (2, 16)), ("B", (16, 2)))
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "pocket-llama", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {},
        "alpha_pattern": {}, "use_rslora": False, "use_dora": False, "layer_replication": None, "bias": "none",
        "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
