"""The methods by name. A new method is a file beside this one and a row here."""

from __future__ import annotations

from typing import Any

from bilora.methods.balance import LoraNbar, LoraObar
from bilora.methods.base import Method
from bilora.methods.bilora import BiLora
from bilora.methods.dual import DualLora
from bilora.methods.efficient_flat import EflatLora
from bilora.methods.efficient_sam import LoraEsam, LoraLookSam
from bilora.methods.exact_adversary import ExactAdversary
from bilora.methods.full import FullFineTuning
from bilora.methods.lora import Lora
from bilora.methods.merged_noise import FlatLora, RwpFull
from bilora.methods.options import MethodError, nearest, option_names
from bilora.methods.random_outputs import Rop
from bilora.methods.random_perturbation import RwpLora
from bilora.methods.sam import LoraSam
from bilora.methods.sam_ascents import Asam, Fsam
from bilora.methods.sam_mixtures import Gsam, Wsam
from bilora.methods.single_step import Msam, S2Sam
from bilora.methods.zeroth_order import AdaZoSam

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        FullFineTuning,
        Lora,
        LoraSam,
        BiLora,
        ExactAdversary,
        DualLora,
        S2Sam,
        Msam,
        EflatLora,
        LoraObar,
        LoraNbar,
        LoraEsam,
        LoraLookSam,
        Wsam,
        Asam,
        Gsam,
        Fsam,
        Rop,
        RwpLora,
        RwpFull,
        FlatLora,
        AdaZoSam,
    )
}


def method_names() -> list[str]:
    """Return the names of all methods, in the order of the registry."""
    return list(METHODS)


def create_method(name: str, **options: Any) -> Method:
    """Create a method by name.

    Args:
        name: One of `method_names()`.
        **options: Fields of the method's options class.

    Returns:
        The method, not attached to a model yet.

    Raises:
        MethodError: If the name or an option is unknown (with the nearest valid one) or a value is out of range.
    """
    if name not in METHODS:
        raise MethodError(f"unknown method {name!r}{nearest(name, METHODS)}; known: {', '.join(METHODS)}")
    cls = METHODS[name]
    known = option_names(cls.options_class)
    for key in options:
        if key not in known:
            listing = ", ".join(known) if known else "none"
            raise MethodError(f"method {name!r} has no option {key!r}{nearest(key, known)}; its options: {listing}")
    try:
        return cls(cls.options_class(**options))
    except MethodError as error:
        raise MethodError(f"method {name!r}: {error}") from None
