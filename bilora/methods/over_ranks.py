"""What methods cannot do over ranks, and writing a model that is spread over them."""

from __future__ import annotations

from typing import Any

from peft import PeftModel

from bilora.ranks import rank, world_size
from bilora.shards import is_sharded, whole
from bilora.weights import TrainedWeights, VariantWeights


def refusal(weights: TrainedWeights, *, scope: str, carries_gradients: bool) -> str | None:
    """Return why a method cannot train these weights as they are shared between ranks; None if it can.

    Args:
        weights: The trained weights.
        scope: Whose adversary is taken, see `Method.scope`.
        carries_gradients: See `Method.carries_gradients`.
    """
    if scope != "step" and weights.sharded:
        return (
            f"sam_scope={scope} gives every rank an adversary of its own, and under FSDP2 all ranks share one copy of "
            "the weights; train with DDP, or with sam_scope=step"
        )
    if scope != "step" and carries_gradients and world_size() > 1:
        return (
            f"it carries a gradient from step to step, which with sam_scope={scope} would be another one on every "
            "rank; train with sam_scope=step"
        )
    if isinstance(weights, VariantWeights) and weights.sharded:
        return (
            "DoRA, HiRA and DeLoRA change a weight by a formula of the whole matrix, of which every rank holds some "
            "rows under FSDP2; train with DDP, or with plain LoRA (PiSSA, LoRA-GA)"
        )
    return None


def save_whole(model: Any, folder: str) -> None:
    """Write a model, or its adapter, with `save_pretrained`; of one that is sharded the first rank writes.

    Args:
        model: A model of transformers or PEFT.
        folder: Where to.
    """
    if not any(is_sharded(p) for p in model.parameters()):
        model.save_pretrained(folder)
        return
    adapter = isinstance(model, PeftModel)
    state = {name: whole(p) for name, p in model.named_parameters() if p.requires_grad or not adapter}
    if rank() == 0:
        model.save_pretrained(folder, state_dict=state)
