from __future__ import annotations

import pytest

from bilora.methods import METHODS
from bilora.variants import VARIANTS, VariantError, resolve_name, split_name
from bilora.variants.names import ALIASES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bilora", ("lora", "bilora")),
        ("lora", ("lora", "lora")),
        ("dora", ("dora", "lora")),
        ("dora+bilora", ("dora", "bilora")),
        ("lora-ga+lora-sam", ("lora-ga", "lora-sam")),
        ("full-ft", ("lora", "full-ft")),
    ],
)
def test_names_split(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected
    assert resolve_name(name) == (*expected, None)


def test_published_names_on_four_bits() -> None:
    assert resolve_name("qlora") == ("lora", "lora", "nf4")
    assert resolve_name("qlora-sam") == ("lora", "lora-sam", "nf4")
    assert resolve_name("bi-qlora").method == "bilora"
    assert not set(ALIASES) & (METHODS.keys() | VARIANTS.keys())


def test_only_the_default_variant_shares_its_name_with_a_method() -> None:
    assert set(VARIANTS) & set(METHODS) == {"lora"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dorra+bilora", "'dorra.bilora': unknown variant 'dorra', did you mean 'dora'"),
        ("dora+bilorra", "unknown method 'bilorra', did you mean 'bilora'"),
        ("bi-qlorra", "unknown method 'bi-qlorra', did you mean 'bi-qlora'"),
        ("pisa", "did you mean 'pissa'"),
        ("bilora+dora", "unknown variant 'bilora'"),
        ("+bilora", "unknown variant ''"),
        ("dora+", "unknown method ''"),
        ("dora+pissa+bilora", "unknown variant 'dora.pissa'"),
        ("dora+qlora", "unknown method 'qlora'"),
    ],
)
def test_unknown_names_name_the_nearest(name: str, message: str) -> None:
    with pytest.raises(VariantError, match=message):
        resolve_name(name)
