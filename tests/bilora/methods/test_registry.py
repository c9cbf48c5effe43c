from __future__ import annotations

import pytest

from bilora.methods import METHODS, MethodError, create_method


def test_every_row_carries_its_own_name() -> None:
    assert {name: cls.name for name, cls in METHODS.items()} == {name: name for name in METHODS}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bi-lora", {}, "unknown method 'bi-lora', did you mean 'bilora'?"),
        ("bilora", {"roh": 0.1}, "has no option 'roh', did you mean 'rho'?"),
        ("lora", {"rho": 0.1}, "method 'lora' has no option 'rho'; its options: none"),
        ("bilora", {"rho": -1.0}, "option rho is -1.0; expected a finite number >= 0"),
        ("lora-sam", {"rho": float("nan")}, "option rho is nan; expected a finite number >= 0"),
        ("lora-sam", {"rho": "big"}, "option rho is 'big'; expected a finite number >= 0"),
        ("bilora", {"auxiliary_rank": 0}, "option auxiliary_rank is 0; expected an integer >= 1"),
        ("bilora", {"rho": float("inf")}, "option rho is inf; expected a finite number >= 0"),
        ("bilora", {"rho": None}, "option rho is None; expected a finite number >= 0"),
        ("bilora", {"auxiliary_rank": 2.5}, "option auxiliary_rank is 2.5; expected an integer >= 1"),
        ("bilora", {"auxiliary_rank": True}, "option auxiliary_rank is True; expected an integer >= 1"),
        ("bilora", {"radius_includes_scaling": 1}, "option radius_includes_scaling is 1; expected true or false"),
        ("bilora", {"clip": "local"}, "option clip is 'local'; expected one of global, per-layer, none"),
    ],
)
def test_bad_names_and_values_are_answered(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method(name, **options)
    assert message in str(error.value)


def test_equal_values_are_one_setting() -> None:
    assert create_method("lora-sam", rho=1).options == create_method("lora-sam", rho=1.0).options
    assert type(create_method("lora-sam", rho=1).options.rho) is float  # type: ignore[attr-defined]
    assert create_method("bilora", auxiliary_learning_rate="none").options == create_method("bilora").options
