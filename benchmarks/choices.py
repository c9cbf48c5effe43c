"""What `--methods` asks for: a training method on an adapter variant on a base of some precision, and its one label.

`dora+bilora` is Bi-LoRA on DoRA; `--quantize nf4` puts every method on a 4-bit base, for which three have names of
their own in the literature: qlora, qlora-sam, bi-qlora. Whatever spelling was used, a run has one label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.errors import UsageError, nearest
from bilora import MethodError, create_method
from bilora.variants import VariantError, check_combination, resolve_name

_QUANTISED_NAMES = {"lora": "qlora", "lora-sam": "qlora-sam", "bilora": "bi-qlora"}


@dataclass(frozen=True)
class MethodChoice:
    """One entry of `--methods`.

    Attributes:
        method: Name of the training method.
        variant: Name of the adapter variant.
        quantize: "nf4", or None for the base's own precision.
        options: All options of the method, defaults filled in.
    """

    method: str
    variant: str
    quantize: str | None
    options: dict[str, Any]

    @property
    def label(self) -> str:
        """The name in tables and reports."""
        return choice_label(self.method, self.variant, self.quantize)


def choice_label(method: str, variant: str, quantize: str | None) -> str:
    """Return the one label of a combination."""
    if quantize is not None and variant == "lora" and method in _QUANTISED_NAMES:
        return _QUANTISED_NAMES[method]
    name = method if variant == "lora" else f"{variant}+{method}"
    return name if quantize is None else f"{name}-{quantize}"


def read_choices(
    names: tuple[str, ...], *, quantize: str | None, options: Mapping[str, Mapping[str, Any]]
) -> list[MethodChoice]:
    """Return the choices that names mean.

    Args:
        names: As given to `--methods`.
        quantize: As given to `--quantize`.
        options: Options by label, by name as given, or by plain method name, which then hold for all its variants.

    Raises:
        UsageError: At the first name, option or combination that cannot be used.
    """
    used: set[str] = set()
    choices = []
    for name in names:
        try:
            resolved = resolve_name(name)
        except VariantError as error:
            raise UsageError(f"--methods: {error}") from None
        precision = resolved.quantize or quantize
        keys = (resolved.method, name, choice_label(resolved.method, resolved.variant, precision))
        given: dict[str, Any] = {}
        for key in dict.fromkeys(keys):
            given |= options.get(key, {})
            used.add(key)
        choices.append(_checked(resolved.method, resolved.variant, precision, given))
    unknown = [name for name in options if name not in used]
    if unknown:
        raise UsageError(
            f"--options: method {unknown[0]!r} is not compared{nearest(unknown[0], names)}; "
            f"--methods has {', '.join(names)}"
        )
    labels = [choice.label for choice in choices]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise UsageError(f"--methods: {twice[0]!r} is named twice, in different spellings; expected every method once")
    return choices


def label_of(name: str, *, quantize: str | None) -> str:
    """Return the label of a name as `--baseline` gives it.

    Raises:
        UsageError: If the name is unknown.
    """
    try:
        resolved = resolve_name(name)
    except VariantError as error:
        raise UsageError(f"--baseline: {error}") from None
    return choice_label(resolved.method, resolved.variant, resolved.quantize or quantize)


def check_baseline(
    baseline: str, names: Sequence[str], choices: Sequence[MethodChoice], *, quantize: str | None
) -> None:
    """Refuse a baseline that is none of the choices, in whatever spelling.

    Args:
        baseline: As given to `--baseline`.
        names: As given to `--methods`.
        choices: What these mean.
        quantize: As given to `--quantize`.

    Raises:
        UsageError: If it is unknown, or not compared.
    """
    if label_of(baseline, quantize=quantize) not in [choice.label for choice in choices]:
        raise UsageError(
            f"--baseline: {baseline!r} is not among --methods {','.join(names)}; add it, or name one of them"
        )


def _checked(method: str, variant: str, quantize: str | None, given: Mapping[str, Any]) -> MethodChoice:
    try:
        complete = asdict(create_method(method, **given).options)
        check_combination(variant, method, quantize, method_options=complete)
    except MethodError as error:
        raise UsageError(f"--options: {error}") from None
    except VariantError as error:
        raise UsageError(f"--methods: {error}") from None
    if quantize is not None and find_spec("bitsandbytes") is None:
        raise UsageError("--quantize: a 4-bit base needs bitsandbytes; install it with pip install 'bilora[qlora]'")
    return MethodChoice(method, variant, quantize, complete)
