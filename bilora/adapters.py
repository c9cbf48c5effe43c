"""The LoRA factors of a PEFT model, and the pair of adapters that Bi-LoRA trains.

PEFT keeps the factors of every adapter inside its layers; the methods here need them as a flat list, layer by
layer, together with the scaling that multiplies their product. `AdapterPair` adds what Bi-LoRA needs beyond
that: a second (auxiliary) adapter that is active while training, off in every evaluation, and never part of an
exported adapter. Norms of weight changes are taken from r x r Gram matrices, so that no (m, n) matrix is formed.

Shapes: W (m, n), A (r, n), B (m, r); the weight change of a layer is dW = s B A with PEFT's scaling s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from peft import DeloraConfig, HiraConfig, LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.delora.layer import DeloraLayer
from peft.tuners.hira.layer import HiraLayer
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from bilora.auxiliary import AUXILIARY, AuxiliaryFactors, add_hooked_auxiliary, add_peft_auxiliary, set_active
from bilora.effective import precise
from bilora.residual_base import changes_base, primary_saved, record_start
from bilora.shards import local_all, shards, summed, whole_all

PRIMARY = "default"
# An offset far from the small consecutive seeds that people use, so that the auxiliary of seed k is not the
# primary of seed k + 1.
_AUXILIARY_SEED_OFFSET = 0x5EED_0000_B11A
# Rows of one piece of a long sum on a GPU.
_ROWS = 256


@dataclass(frozen=True)
class LoraFactors:
    """The factors of one adapter in one layer; `A` and `B` are the live parameters, not copies.

    For plain LoRA the change of the weight is scaling * B A. HiRA and DeLoRA have no scaling (it is 1 here) and
    another formula, and DoRA normalises on top: `bilora.effective` knows them all.
    """

    name: str
    A: nn.Parameter  # (r, n)
    B: nn.Parameter  # (m, r)
    scaling: float


def lora_factors(model: nn.Module, adapter: str = PRIMARY) -> list[LoraFactors]:
    """List the factors of `adapter` over all PEFT layers of LoRA, HiRA or DeLoRA, in module order.

    Raises:
        ValueError: If no layer of the model carries the adapter.
    """
    factors = [
        LoraFactors(name, *found)
        for name, module in model.named_modules()
        if (found := _factors(module, adapter)) is not None
    ]
    if not factors:
        raise ValueError(
            f"no LoRA layer of the model carries an adapter named {adapter!r}; attach one with PEFT "
            "(get_peft_model) or pass a LoraConfig"
        )
    return factors


def _factors(module: nn.Module, adapter: str) -> tuple[nn.Parameter, nn.Parameter, float] | None:
    if isinstance(module, LoraLayer) and adapter in module.lora_A:
        A, B = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        return cast("nn.Parameter", A), cast("nn.Parameter", B), float(module.scaling[adapter])
    if isinstance(module, HiraLayer) and adapter in module.hira_A:
        return module.hira_A[adapter], module.hira_B[adapter], 1.0
    if isinstance(module, DeloraLayer) and adapter in module.delora_A:
        return module.delora_A[adapter], module.delora_B[adapter], 1.0
    return None


def product_norms_squared(products: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return ||s B A||_F^2 of every (A, B, s), as one tensor of shape (len(products),), fp32 or better.

    Uses ||B A||_F^2 = <B^T B, A A^T>. Products of equal shapes are stacked, so that the number of kernels
    depends on the number of distinct shapes and not on the depth of the model.
    """
    norms: dict[int, Tensor] = {}
    for indices in groups_of((A.shape, B.shape, A.device, scaling) for A, B, scaling in products):
        A = precise(torch.stack([products[i][0].detach() for i in indices]))
        B = precise(torch.stack([products[i][1].detach() for i in indices]))
        squares = gram_norms_squared(A, B).mul_(products[indices[0]][2] ** 2)
        norms.update(zip(indices, squares.to(products[0][0].device).unbind(), strict=True))
    return torch.stack([norms[index] for index in range(len(products))])


def gram_norms_squared(A: Tensor, B: Tensor) -> Tensor:
    """Return ||B A||_F^2, shape (layers,), of stacked products: A (layers, r, n) and B (layers, m, r), in fp32."""
    # Rounding can push the Gram form of a zero product slightly below zero.
    return _gram(B).mul_(_gram(A.mT)).sum(dim=(1, 2)).clamp_min_(0.0)


def _gram(tall: Tensor) -> Tensor:
    """Return X^T X, (layers, r, r), of stacked tall matrices X (layers, m, r).

    A GPU gives each product of a batch to few of its processors, which one sum over thousands of rows keeps waiting:
    such sums are taken in pieces.
    """
    layers, rows, rank = tall.shape
    if not tall.is_cuda or rows % _ROWS:
        return tall.mT @ tall
    pieces = tall.reshape(layers * (rows // _ROWS), _ROWS, rank)
    return (pieces.mT @ pieces).view(layers, -1, rank, rank).sum(1)


def groups_of(keys: Iterable[Hashable]) -> list[list[int]]:
    """Return the positions of equal keys together, in the order in which each key first comes."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return list(groups.values())


def factor_norms_squared(factors: Sequence[LoraFactors]) -> Tensor:
    """Return ||s B A||_F^2 of every layer, fp32 or better, shape (layers,).

    Of sharded factors A is gathered, since every entry of A A^T needs whole rows; B stays, and the rows of the
    products are summed over ranks.
    """
    A = whole_all([f.A for f in factors])
    B = local_all([f.B for f in factors])
    norms = product_norms_squared([(a, b, f.scaling) for a, b, f in zip(A, B, factors, strict=True)])
    return summed(norms, shards([f.B for f in factors]))


def displacement_norm(factors: Sequence[LoraFactors], before: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return sqrt(sum_l ||s (B A - B0 A0)||_F^2), the weight-space norm of a move of the factors.

    Args:
        factors: The factors where they are now.
        before: (A0, B0) of every layer, in the same order; of sharded factors the rows that are here.

    The difference is written as the rank-2r product s [B, B - B0] [A - A0; A0], since the Gram form of
    B A - B0 A0 itself would cancel: a move of 1e-4 relative to the weights loses all digits in fp32.
    """
    A = [f.A for f in factors]
    now, earlier = whole_all(A), whole_all(A, [A0 for A0, _ in before])
    products = [
        (torch.cat([a - a0, a0]), torch.cat([b, b - b0], dim=1), f.scaling)
        for f, a, a0, b, (_, b0) in zip(factors, now, earlier, local_all([f.B for f in factors]), before, strict=True)
    ]
    return summed(product_norms_squared(products).sum(), shards(A)).sqrt()


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
        """Run the model with the primary adapter alone; both are active again afterwards.

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
        """Let `model.save_pretrained` write the primary only, whoever calls it and with whatever arguments."""
        return primary_saved(self.model, self.primary_name)

    def auxiliary_norms_squared(self) -> Tensor:
        """Return ||s B2 A2||_F^2 of every layer, fp32 or better, shape (layers,)."""
        return factor_norms_squared(self.auxiliary)

    def follow(self) -> None:
        """Find the factors anew, after other parameters have been put in their places."""
        self.primary = lora_factors(self.model, self.primary_name)
        if not self._hooked:
            self.auxiliary = lora_factors(self.model, AUXILIARY)
