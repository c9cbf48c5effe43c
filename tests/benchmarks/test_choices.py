from __future__ import annotations

import pytest

from benchmarks.choices import choice_label, label_of, read_choices
from benchmarks.errors import UsageError


def test_names_are_read_into_method_variant_and_precision() -> None:
    found = read_choices(("lora", "dora+bilora", "bi-qlora"), quantize=None, options={})
    assert [(c.method, c.variant, c.quantize, c.label) for c in found] == [
        ("lora", "lora", None, "lora"),
        ("bilora", "dora", None, "dora+bilora"),
        ("bilora", "lora", "nf4", "bi-qlora"),
    ]
    assert found[1].options["rho"] == 0.05


def test_every_spelling_has_one_label() -> None:
    quantised = read_choices(("lora", "lora-sam", "s2sam"), quantize="nf4", options={})
    assert [c.label for c in quantised] == ["qlora", "qlora-sam", "s2sam-nf4"]
    assert label_of("lora", quantize="nf4") == label_of("qlora", quantize=None) == "qlora"
    assert choice_label("bilora", "hira", "nf4") == "hira+bilora-nf4"


def test_options_go_by_method_or_by_label_the_label_winning() -> None:
    options = {"bilora": {"rho": 0.2, "clip": "none"}, "dora+bilora": {"rho": 0.3}}
    plain, dora = read_choices(("bilora", "dora+bilora"), quantize=None, options=options)
    assert (plain.options["rho"], plain.options["clip"]) == (0.2, "none")
    assert (dora.options["rho"], dora.options["clip"]) == (0.3, "none")


@pytest.mark.parametrize(
    ("names", "quantize", "options", "message"),
    [
        (("dora+bilor",), None, {}, "--methods: 'dora+bilor': unknown method 'bilor', did you mean 'bilora'?"),
        (("dara+bilora",), None, {}, "unknown variant 'dara', did you mean 'dora'?"),
        (("flat-lora",), "nf4", {}, "--methods: lora+flat-lora on nf4: method 'flat-lora' is refused"),
        (("dora+full-ft",), None, {}, "--methods: dora+full-ft"),
        (("qlora", "lora"), "nf4", {}, "'qlora' is named twice, in different spellings"),
        (("lora",), None, {"lora": {"rho": 1}}, "--options: method 'lora' has no option 'rho'; its options: none"),
        (("lora",), None, {"bilora": {"rho": 1}}, "--options: method 'bilora' is not compared"),
    ],
)
def test_what_cannot_be_used_is_answered(
    names: tuple[str, ...], quantize: str | None, options: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        read_choices(names, quantize=quantize, options=options)
    assert message in str(error.value)
