"""Names of what is trained: VARIANT+METHOD, and the published names for methods on a 4-bit base."""

from __future__ import annotations

from typing import NamedTuple

from bilora.methods.options import nearest
from bilora.methods.registry import METHODS
from bilora.variants.base import VariantError
from bilora.variants.registry import VARIANTS

DEFAULT_VARIANT = "lora"
#: What the literature calls a method on an NF4 base.
ALIASES = {"qlora": "lora", "qlora-sam": "lora-sam", "bi-qlora": "bilora"}


class ResolvedName(NamedTuple):
    """What a name asks for.

    Attributes:
        variant: Name of the variant.
        method: Name of the method.
        quantize: "nf4", or None for a base in its own precision.
    """

    variant: str
    method: str
    quantize: str | None


def split_name(name: str) -> tuple[str, str]:
    """Split "dora+bilora" into variant and method; without a variant it is plain LoRA.

    Raises:
        VariantError: If a part is unknown, naming the nearest known one.
    """
    variant, plus, method = name.rpartition("+")
    if not plus:
        variant = DEFAULT_VARIANT
    if variant not in VARIANTS:
        raise VariantError(
            f"{name!r}: unknown variant {variant!r}{nearest(variant, VARIANTS)}; known: {', '.join(VARIANTS)}"
        )
    if method not in METHODS:
        # A variant alone asks for that adapter, trained as LoRA trains its own.
        if not plus and method in VARIANTS:
            return method, "lora"
        known = [*METHODS, *ALIASES, *VARIANTS] if not plus else list(METHODS)
        raise VariantError(f"{name!r}: unknown method {method!r}{nearest(method, known)}; known: {', '.join(METHODS)}")
    return variant, method


def resolve_name(name: str) -> ResolvedName:
    """Return variant, method and quantisation of a name.

    Args:
        name: "METHOD", "VARIANT+METHOD", or "VARIANT" for that adapter trained as LoRA trains its own; `qlora`,
            `qlora-sam` and `bi-qlora` stand on NF4.

    Raises:
        VariantError: See `split_name`.
    """
    if name in ALIASES:
        return ResolvedName(DEFAULT_VARIANT, ALIASES[name], "nf4")
    return ResolvedName(*split_name(name), None)
