"""The variants by name. A new variant is a file beside this one and a row here."""

from __future__ import annotations

from typing import Any

from bilora.methods.options import MethodError, nearest, option_names
from bilora.variants.base import AdapterVariant, VariantError
from bilora.variants.delora import DeLora
from bilora.variants.hira import HiRa
from bilora.variants.lora import DoraVariant, LoraVariant
from bilora.variants.lora_ga import LoraGa
from bilora.variants.pissa import Pissa

VARIANTS: dict[str, type[AdapterVariant]] = {
    cls.name: cls for cls in (LoraVariant, DoraVariant, Pissa, LoraGa, HiRa, DeLora)
}
SETTINGS = ("rank", "alpha", "dropout", "target_modules", "task_type")


def variant_names() -> list[str]:
    """Return the names of all variants, in the order of the registry."""
    return list(VARIANTS)


def create_variant(name: str, **settings: Any) -> AdapterVariant:
    """Create a variant by name.

    Args:
        name: One of `variant_names()`.
        **settings: rank, alpha, dropout, target_modules and task_type (see `AdapterVariant`), and the variant's own
            options.

    Returns:
        The variant, on no model yet.

    Raises:
        VariantError: If the name or a setting is unknown (with the nearest valid one) or a value is out of range.
    """
    if name not in VARIANTS:
        raise VariantError(f"unknown variant {name!r}{nearest(name, VARIANTS)}; known: {', '.join(VARIANTS)}")
    cls = VARIANTS[name]
    known = [*SETTINGS, *option_names(cls.options_class)]
    for key in settings:
        if key not in known:
            raise VariantError(
                f"variant {name!r} has no setting {key!r}{nearest(key, known)}; its settings: {', '.join(known)}"
            )
    own = {key: settings.pop(key) for key in list(settings) if key not in SETTINGS}
    try:
        return cls(**settings, options=cls.options_class(**own))
    except MethodError as error:
        raise VariantError(f"variant {name!r}: {error}") from None
