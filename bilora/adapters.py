"""The LoRA factors of a PEFT model, and the pair of adapters that Bi-LoRA trains.

PEFT keeps the factors of every adapter inside its layers; the methods here need them as a flat list, layer by
layer, together with the scaling that multiplies their product. `AdapterPair` adds what Bi-LoRA needs beyond
that: a second (auxiliary) adapter that is active while training, off in every evaluation, and never part of an
exported adapter. Norms of weight changes are taken from r x r Gram matrices, so that no (m, n) matrix is formed.

Shapes: W (m, n), A (r, n), B (m, r); the weight change of a layer is dW = s B A with PEFT's scaling s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

PRIMARY = "default"
AUXILIARY = "auxiliary"
# An offset far from the small consecutive seeds that people use, so that the auxiliary of seed k is not the
# primary of seed k + 1.
_AUXILIARY_SEED_OFFSET = 0x5EED_0000_B11A


@dataclass(frozen=True)
class LoraFactors:
    """The factors of one adapter in one layer; `A` and `B` are the live parameters, not copies."""

    name: str
    A: nn.Parameter  # (r, n)
    B: nn.Parameter  # (m, r)
    scaling: float


def lora_factors(model: nn.Module, adapter: str = PRIMARY) -> list[LoraFactors]:
    """List the factors of `adapter` over all PEFT LoRA layers of `model`, in module order.

    Raises:
        ValueError: If no layer of the model carries the adapter.
    """
    factors = [
        LoraFactors(
            name,
            cast("nn.Parameter", module.lora_A[adapter].weight),
            cast("nn.Parameter", module.lora_B[adapter].weight),
            float(module.scaling[adapter]),
        )
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    ]
    if not factors:
        raise ValueError(
            f"no LoRA layer of the model carries an adapter named {adapter!r}; attach one with PEFT "
            "(get_peft_model) or pass a LoraConfig"
        )
    return factors


def product_norms_squared(products: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return ||s B A||_F^2 of every (A, B, s), as one fp32 tensor of shape (len(products),).

    Uses ||B A||_F^2 = <B^T B, A A^T>. Products of equal shapes are stacked, so that the number of kernels
    depends on the number of distinct shapes and not on the depth of the model.
    """
    groups: dict[tuple[torch.Size, torch.Size, float], list[int]] = defaultdict(list)
    for index, (A, B, scaling) in enumerate(products):
        groups[A.shape, B.shape, scaling].append(index)
    norms: dict[int, Tensor] = {}
    for (_, _, scaling), indices in groups.items():
        A = torch.stack([products[i][0].detach() for i in indices]).float()  # (layers, r, n)
        B = torch.stack([products[i][1].detach() for i in indices]).float()  # (layers, m, r)
        squares = (B.mT @ B).mul_(A @ A.mT).sum(dim=(1, 2)).mul_(scaling**2)
        norms.update(zip(indices, squares.to(products[0][0].device).unbind(), strict=True))
    # Rounding can push the Gram form of a zero product slightly below zero.
    return torch.stack([norms[index] for index in range(len(products))]).clamp_min_(0.0)


def displacement_norm(factors: Sequence[LoraFactors], before: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return sqrt(sum_l ||s (B A - B0 A0)||_F^2), the weight-space norm of a move of the factors.

    Args:
        factors: The factors where they are now.
        before: (A0, B0) of every layer, in the same order.

    The difference is written as the rank-2r product s [B, B - B0] [A - A0; A0], since the Gram form of
    B A - B0 A0 itself would cancel: a move of 1e-4 relative to the weights loses all digits in fp32.
    """
    products = [
        (
            torch.cat([f.A.detach() - A0, A0]),
            torch.cat([f.B.detach(), f.B.detach() - B0], dim=1),
            f.scaling,
        )
        for f, (A0, B0) in zip(factors, before, strict=True)
    ]
    return product_norms_squared(products).sum().sqrt()


def attach_primary(model: nn.Module, config: PeftConfig | None) -> PeftModel:
    """Return `model` as a PEFT model with a trainable primary adapter.

    A model that already is a `PeftModel` is taken as it is (its active adapter is the primary) and `config`
    must then be None.

    Raises:
        ValueError: If a plain model comes without a config, or a PEFT model with one.
    """
    if isinstance(model, PeftModel):
        if config is not None:
            raise ValueError("the model already carries a PEFT adapter; pass peft_config=None, or the plain model")
        return model
    if config is None:
        raise ValueError("the model carries no adapter; pass a configuration such as peft.LoraConfig as peft_config")
    return cast("PeftModel", get_peft_model(model, config))


class AdapterPair:
    """The primary adapter of a PEFT model and an auxiliary one beside it.

    Args:
        model: PEFT model whose active adapter is the primary.
        auxiliary_rank: Rank of the auxiliary; None takes the primary's. Every layer's scaling s is the primary's.

    The auxiliary starts at B = 0 as every LoRA adapter does. Its A is drawn from a generator of its own, seeded
    from the global seed: the global random stream, and with it data order and dropout, is the one that plain
    LoRA would have seen.
    """

    def __init__(self, model: PeftModel, *, auxiliary_rank: int | None = None) -> None:
        self.model = model
        self.primary_name = str(model.active_adapters[0])
        config = model.peft_config[self.primary_name]
        if not isinstance(config, LoraConfig):
            raise ValueError(f"the primary adapter must be a LoRA adapter, found {type(config).__name__}")
        if AUXILIARY in model.peft_config:
            raise ValueError(f"the model already has an adapter named {AUXILIARY!r}; delete it first")
        with torch.random.fork_rng():
            torch.manual_seed((torch.initial_seed() + _AUXILIARY_SEED_OFFSET) % 2**63)
            model.add_adapter(AUXILIARY, _auxiliary_config(config, rank=auxiliary_rank))
        _share_scaling(model, self.primary_name)
        self.primary = lora_factors(model, self.primary_name)
        self.auxiliary = lora_factors(model, AUXILIARY)
        self.activate_both()

    def activate_both(self) -> None:
        """Make both adapters active and trainable; everything else keeps its requires_grad."""
        # PeftModel.set_adapter takes a single name and freezes the other adapter; the tuner below it takes a list.
        _set_active(self.model, [self.primary_name, AUXILIARY])
        for factors in (*self.primary, *self.auxiliary):
            factors.A.requires_grad_(True)
            factors.B.requires_grad_(True)

    @contextmanager
    def auxiliary_off(self) -> Iterator[None]:
        """Run the model with the primary adapter alone; both are active again afterwards.

        Nests: inside another such context nothing changes, and the outermost one switches the auxiliary on again.
        """
        if AUXILIARY not in self.model.active_adapters:
            yield
            return
        _set_active(self.model, [self.primary_name])
        try:
            yield
        finally:
            self.activate_both()

    @contextmanager
    def primary_saved_alone(self) -> Iterator[None]:
        """Let `model.save_pretrained` write the primary only, whoever calls it and with whatever arguments."""
        # Unselected, PEFT writes a folder for each adapter; a Trainer calls it without a selection.
        alone = partial(self.model.save_pretrained, selected_adapters=[self.primary_name])
        self.model.save_pretrained = alone
        try:
            yield
        finally:
            del self.model.save_pretrained

    def auxiliary_norms_squared(self) -> Tensor:
        """Return ||s B2 A2||_F^2 of every layer, fp32, shape (layers,)."""
        return product_norms_squared([(f.A, f.B, f.scaling) for f in self.auxiliary])


def _auxiliary_config(primary: LoraConfig, *, rank: int | None) -> LoraConfig:
    """The auxiliary is plain LoRA on the primary's layers."""
    return LoraConfig(
        r=primary.r if rank is None else rank,
        lora_alpha=primary.lora_alpha,
        lora_dropout=0.0,
        target_modules=primary.target_modules,
        exclude_modules=primary.exclude_modules,
        layers_to_transform=primary.layers_to_transform,
        layers_pattern=primary.layers_pattern,
        task_type=primary.task_type,
    )


def _share_scaling(model: PeftModel, primary: str) -> None:
    """Give the auxiliary the primary's scaling in every layer, whatever ranks, patterns or rsLoRA made of it."""
    for module in model.modules():
        if isinstance(module, LoraLayer) and AUXILIARY in module.scaling:
            module.scaling[AUXILIARY] = module.scaling[primary]


def _set_active(model: PeftModel, adapters: list[str]) -> None:
    set_adapter = cast("Callable[[list[str]], None]", model.base_model.set_adapter)
    set_adapter(adapters)
