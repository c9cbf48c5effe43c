"""Dual-LoRA: Bi-LoRA's second branch, descending as the first does, inside the same ball.

It is the ablation of the Bi-LoRA paper (arXiv 2508.19564) that keeps everything but the ascent, and tells how much of
Bi-LoRA's gain is due to the extra factors. The paper does not say whether the second branch stays after training.
Both branches minimise the loss of their sum, so by default it stays in evaluation and export: what is written is
one plain LoRA adapter of the joint rank, s [B1, B2] [A1; A2], for PEFT as it comes. Its first rows and columns are the
first branch, so that the file also serves to resume. That form needs plain LoRA: variants whose weight change is no
product of factors, and starts that change the base, are refused unless the second branch is dropped.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, set_peft_model_state_dict
from torch import nn

from bilora.auxiliary import AUXILIARY
from bilora.factors import LoraFactors
from bilora.methods.bilora import BiLora, BiLoraOptions
from bilora.methods.options import MethodError, one_of, option
from bilora.residual_base import read_factors, start_factors
from bilora.weights import VariantWeights

SECOND_BRANCHES = ("kept", "dropped")


@dataclass(frozen=True, kw_only=True)
class DualLoraOptions(BiLoraOptions):
    """Options of Dual-LoRA; `auxiliary` means the second branch."""

    second_branch: str = option(
        "kept", one_of(*SECOND_BRANCHES), "kept: evaluated and exported with the first as one adapter; dropped: neither"
    )


class DualLora(BiLora):
    """Dual-LoRA: two adapters descend, and the second is clipped to the ball."""

    name = "dual-lora"
    summary = "a second adapter descends beside the first, inside a weight-space ball; one gradient a step"
    perturbs = "W, by the second branch s B2 A2 (which descends)"
    memory_rule = "the second branch's factors, gradients and optimizer moments"
    source = "Liu et al., ICLR 2026, arXiv 2508.19564 (ablation)"
    published_cost = None
    options_class = DualLoraOptions
    options: DualLoraOptions

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """See `BiLora.attach`.

        Raises:
            MethodError: If the second branch is to be kept beside an adapter that is not plain LoRA.
        """
        attached = super().attach(model, config)
        if self._keeps:
            residual = any(start_factors(self.model.get_submodule(f.name)) for f in self.pair.primary)
            if residual or isinstance(self.weights, VariantWeights):
                raise MethodError(
                    "method 'dual-lora' writes both branches as one plain LoRA adapter, which this variant of LoRA "
                    "is not; use plain LoRA, or second_branch=dropped"
                )
        return attached

    @property
    def _keeps(self) -> bool:
        return self.options.second_branch == "kept"

    def auxiliary_rule(self, *, weight_decay: float) -> dict[str, Any]:
        """Return the optimizer's settings of the second branch: those of the first."""
        return {"weight_decay": weight_decay}

    def evaluation(self) -> AbstractContextManager[None]:
        """Switch the second branch off if it is not kept."""
        return nullcontext() if self._keeps else super().evaluation()

    def exporting(self) -> AbstractContextManager[None]:
        """Let `model.save_pretrained` write both branches as one adapter, or the first alone."""
        return self._joint_saved() if self._keeps else super().exporting()

    @contextmanager
    def _joint_saved(self) -> Iterator[None]:
        self.model.save_pretrained = partial(self._save_joint, self.model)
        try:
            yield
        finally:
            del self.model.save_pretrained

    def _save_joint(self, model: PeftModel, folder: str, **options: Any) -> None:
        state = dict(options.pop("state_dict", None) or model.state_dict())
        for first in self.pair.primary:
            for part, dim in (("A", 0), ("B", 1)):
                keys = [f"{first.name}.lora_{part}.{name}.weight" for name in (self.pair.primary_name, AUXILIARY)]
                state[keys[0]] = torch.cat([state[key] for key in keys], dim=dim)
        name = self.pair.primary_name
        config = model.peft_config[name]
        model.peft_config[name] = joint_config(cast("LoraConfig", config), self.pair.primary, self.pair.auxiliary)
        try:
            PeftModel.save_pretrained(model, folder, **{**options, "selected_adapters": [name], "state_dict": state})
        finally:
            model.peft_config[name] = config

    @torch.no_grad()
    def load_adapter(self, folder: str | Path) -> None:
        """Load both branches from the joint adapter, or the first alone.

        Raises:
            FileNotFoundError: If the folder holds no adapter.
            MethodError: If the adapter is not of the joint rank.
        """
        if not self._keeps or self.weights.sharded:
            super().load_adapter(folder)
            return
        state = read_factors(folder)
        for first, second in zip(self.pair.primary, self.pair.auxiliary, strict=True):
            keys = f"{first.name}.lora_A.weight", f"{first.name}.lora_B.weight"
            ranks = [len(first.A), len(second.A)]
            if keys[0] not in state or len(state[keys[0]]) != sum(ranks):
                found = f"rank {len(state[keys[0]])}" if keys[0] in state else "nothing"
                raise MethodError(
                    f"{folder} holds {found} for {first.name}, expected the joint rank {ranks[0]} + {ranks[1]}; use "
                    "the adapter ranks and the second_branch that the run was started with"
                )
            state[keys[0]], A = torch.split(state[keys[0]], ranks, dim=0)
            state[keys[1]], B = torch.split(state[keys[1]], ranks, dim=1)
            second.A.copy_(A)
            second.B.copy_(B)
        set_peft_model_state_dict(self.model, state, adapter_name=self.pair.primary_name)


def joint_config(config: LoraConfig, first: Sequence[LoraFactors], second: Sequence[LoraFactors]) -> LoraConfig:
    """Return the configuration of one adapter of the joint rank, with every layer's own rank and scaling.

    Args:
        config: Configuration of the first branch.
        first: Its factors in every layer.
        second: Those of the second branch, with the same scaling.
    """
    ranks = {a.name.removeprefix("base_model.model."): len(a.A) + len(b.A) for a, b in zip(first, second, strict=True)}
    alphas = {name: layer.scaling * rank for (name, rank), layer in zip(ranks.items(), first, strict=True)}
    joint = copy.deepcopy(config)
    joint.use_rslora, joint.init_lora_weights = False, True
    joint.r, joint.lora_alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    # PEFT reads a pattern's key as the end of a regular expression.
    joint.rank_pattern = {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != joint.r}
    joint.alpha_pattern = {f"^{re.escape(name)}": a for name, a in alphas.items() if a != joint.lora_alpha}
    return joint
