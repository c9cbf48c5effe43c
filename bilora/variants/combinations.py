"""Which combinations of variant, method and base make sense; the others are refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilora.methods.registry import METHODS
from bilora.variants.base import VariantError
from bilora.variants.names import split_name
from bilora.variants.registry import VARIANTS

_NO_PRODUCT = (
    "it reads the gradient of W off those of the factors by dW = s B A, and here dW is another function of them"
)
_UNBALANCED = "the change of the weight does not depend on the norms of the factors, so there is nothing to balance"
_RAW_STEP = (
    "its correction is a step along raw gradients, and at B = 0 those of DeLoRA are about 1e4 times too large; "
    "set decoupled=false"
)
_JOINT = "it writes both branches as one plain LoRA adapter, which this variant is not; set second_branch=dropped"

_REFUSED: dict[tuple[str, str], str] = {
    ("dora", "eflat-lora"): _NO_PRODUCT,
    ("hira", "eflat-lora"): _NO_PRODUCT,
    ("delora", "eflat-lora"): _NO_PRODUCT,
    ("delora", "lora-obar"): _UNBALANCED,
    ("delora", "lora-nbar"): _UNBALANCED,
}
#: Refused unless this option of the method has this value.
_REFUSED_UNLESS: dict[tuple[str, str], tuple[str, Any, str]] = {
    ("delora", "wsam"): ("decoupled", False, _RAW_STEP),
    **{(name, "dual-lora"): ("second_branch", "dropped", _JOINT) for name in VARIANTS if name != "lora"},
}
QUANTISATIONS = ("nf4",)


def check_combination(
    variant: str, method: str, quantize: str | None = None, *, method_options: Mapping[str, Any] | None = None
) -> None:
    """Refuse a combination that makes no sense.

    Args:
        variant: Name of a variant.
        method: Name of a method.
        quantize: "nf4", or None.
        method_options: The method's options, since some make sense of what is refused without them.

    Raises:
        VariantError: With the reason; or if a name is unknown, with the nearest known one.
    """
    split_name(f"{variant}+{method}")
    name = f"{variant}+{method}"
    if quantize is not None:
        if quantize not in QUANTISATIONS:
            raise VariantError(f"quantize is {quantize!r}; expected one of {', '.join(QUANTISATIONS)}, or none")
        for kind, cls in (("variant", VARIANTS[variant]), ("method", METHODS[method])):
            if cls.refused_on_quantised is not None:
                raise VariantError(f"{name} on {quantize}: {kind} {cls.name!r} is refused: {cls.refused_on_quantised}")
    if METHODS[method].trains_all_weights and variant != "lora":
        raise VariantError(f"{name}: {method!r} trains the model's own weights and has no adapter to be {variant!r}")
    if (variant, method) in _REFUSED:
        raise VariantError(f"{name}: {_REFUSED[variant, method]}")
    if (variant, method) in _REFUSED_UNLESS:
        option, value, reason = _REFUSED_UNLESS[variant, method]
        if (method_options or {}).get(option) != value:
            raise VariantError(f"{name}: {reason}")
