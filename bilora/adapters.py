"""The pair of adapters that Bi-LoRA trains: a primary one as plain LoRA has it, and an auxiliary one beside it.

The auxiliary adapter is active while training, off in every evaluation, and never part of an exported adapter.

Shapes: W (m, n), A (r, n), B (m, r); the weight change of a layer is dW = s B A with PEFT's scaling s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import torch
from peft import DeloraConfig, HiraConfig, LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from bilora.auxiliary import AUXILIARY, AuxiliaryFactors, add_hooked_auxiliary, add_peft_auxiliary, set_active
from bilora.factor_norms import factor_norms_squared
from bilora.factors import LoraFactors, lora_factors
from bilora.residual_base import changes_base, primary_saved, record_start

# An offset far from the small consecutive seeds that people use, so that the auxiliary of seed k is not the
# primary of seed k + 1.
_AUXILIARY_SEED_OFFSET = 0x5EED_0000_B11A


def attach_primary(model: nn.Module, config: PeftConfig | None) -> PeftModel:
    """Return `model` as a PEFT model with a trainable primary adapter.

    Where its start is taken out of the base weight (PiSSA) the start is kept, see `bilora.residual_base`. A model
    that already is a `PeftModel` is taken as it is (its active adapter is the primary) and `config` must then be None.

    Raises:
        ValueError: If a plain model comes without a config, or a PEFT model with one.
    """
    if isinstance(model, PeftModel):
        if config is not None:
            raise ValueError("the model already carries a PEFT adapter; pass peft_config=None, or the plain model")
        return model
    if config is None:
        raise ValueError("the model carries no adapter; pass a configuration such as peft.LoraConfig as peft_config")
    attached = cast("PeftModel", get_peft_model(model, config))
    if changes_base(config):
        record_start(attached, str(attached.active_adapters[0]))
    return attached


class AdapterPair:
    """The primary adapter of a PEFT model and an auxiliary one beside it.

    Args:
        model: PEFT model whose active adapter is the primary: LoRA with any start, DoRA, HiRA or DeLoRA. Where the
            auxiliary stands relative to each is said in `bilora.auxiliary`.
        auxiliary_rank: Rank of the auxiliary; None takes the primary's. Every layer's scaling s is the primary's.
        auxiliary_trained: Whether its factors get gradients; a method may set them itself instead.

    The auxiliary starts at B = 0 as every LoRA adapter does. Its A is drawn from a generator of its own, seeded
    from the global seed: the global random stream, and with it data order and dropout, is the one that plain
    LoRA would have seen.

    Raises:
        ValueError: If the primary is of another kind, or the model already has an auxiliary.
    """

    def __init__(self, model: PeftModel, *, auxiliary_rank: int | None = None, auxiliary_trained: bool = True) -> None:
        self.model = model
        self._auxiliary_trained = auxiliary_trained
        self.primary_name = str(model.active_adapters[0])
        if AUXILIARY in model.peft_config:
            raise ValueError(f"the model already has an adapter named {AUXILIARY!r}; delete it first")
        self.primary = lora_factors(model, self.primary_name)
        with torch.random.fork_rng():
            torch.manual_seed((torch.initial_seed() + _AUXILIARY_SEED_OFFSET) % 2**63)
            self.auxiliary = self._added(auxiliary_rank)
        self.activate_both()

    def _added(self, rank: int | None) -> list[LoraFactors]:
        config = self.model.peft_config[self.primary_name]
        self._hooked: list[AuxiliaryFactors] = []
        if isinstance(config, LoraConfig):
            add_peft_auxiliary(self.model, self.primary_name, rank=rank)
            return lora_factors(self.model, AUXILIARY)
        if not isinstance(config, HiraConfig | DeloraConfig):
            raise ValueError(f"the primary adapter must be LoRA, HiRA or DeLoRA, found {type(config).__name__}")
        layers = [self.model.get_submodule(f.name) for f in self.primary]
        self._hooked = add_hooked_auxiliary(self.model, layers, self.primary_name, rank=rank)
        return [
            LoraFactors(f.name, added.A, added.B, f.scaling)
            for f, added in zip(self.primary, self._hooked, strict=True)
        ]

    @property
    def auxiliary_active(self) -> bool:
        """Whether the auxiliary takes part in forward passes."""
        return self._hooked[0].active if self._hooked else AUXILIARY in self.model.active_adapters

    def activate_both(self) -> None:
        """Make both adapters active, and those trainable that are trained; everything else keeps its requires_grad."""
        if self._hooked:
            self._set_hooked(active=True)
        else:
            set_active(self.model, [self.primary_name, AUXILIARY])
        for layers, trained in ((self.primary, True), (self.auxiliary, self._auxiliary_trained)):
            for factors in layers:
                factors.A.requires_grad_(trained)
                factors.B.requires_grad_(trained)

    def _set_hooked(self, *, active: bool) -> None:
        for factors in self._hooked:
            factors.active = active

    @contextmanager
    def auxiliary_off(self) -> Iterator[None]:
        """Context in which the model runs with the primary adapter alone; both are active again afterwards.

        Nests: inside another such context nothing changes, and the outermost one switches the auxiliary on again.
        """
        if not self.auxiliary_active:
            yield
            return
        if self._hooked:
            self._set_hooked(active=False)
        else:
            set_active(self.model, [self.primary_name])
        try:
            yield
        finally:
            self.activate_both()

    def primary_saved_alone(self) -> AbstractContextManager[None]:
        """Context in which `model.save_pretrained` writes the primary only, whoever calls it and however."""
        return primary_saved(self.model, self.primary_name)

    def auxiliary_norms_squared(self) -> Tensor:
        """Return ||s B2 A2||_F^2 of every layer, fp32 or better, shape (layers,)."""
        return factor_norms_squared(self.auxiliary)

    def follow(self) -> None:
        """Find the factors anew, after other parameters have been put in their places."""
        self.primary = lora_factors(self.model, self.primary_name)
        if not self._hooked:
            self.auxiliary = lora_factors(self.model, AUXILIARY)
