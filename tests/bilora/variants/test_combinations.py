"""Every variant with every method is trained here, or refused by name with the reason.

Plain LoRA with every method is what the shared battery of the methods trains.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilora import MethodError, attach, build_optimizer
from bilora.methods import METHODS
from bilora.variants import VARIANTS, VariantError, check_combination, variant_names
from tests.driving import step_gradients
from tests.tiny import as_batch, examples, tiny_llama
from tests.variants import prepared, with_variant

PAIRS = [(v, m) for v in variant_names() for m in METHODS]
#: Options under which a combination that is refused otherwise is trained.
SENSIBLE: dict[tuple[str, str], dict[str, Any]] = {
    ("delora", "wsam"): {"decoupled": False},
    **{(v, "dual-lora"): {"second_branch": "dropped"} for v in VARIANTS if v != "lora"},
}
REFUSED = {
    *((v, "full-ft") for v in VARIANTS if v != "lora"),
    *((v, "eflat-lora") for v in ("dora", "hira", "delora")),
    *(("delora", m) for m in ("lora-obar", "lora-nbar")),
}


@pytest.mark.parametrize(("variant", "method"), [(v, m) for v, m in PAIRS if v != "lora" and (v, m) not in REFUSED])
def test_trains(variant: str, method: str) -> None:
    options = SENSIBLE.get((variant, method), {})
    check_combination(variant, method, method_options=options)
    attached, created = attach(with_variant(variant), method=method, **options)
    attached.train()
    frozen = {n: p.detach().clone() for n, p in attached.named_parameters() if not p.requires_grad}
    trained = list(created.weights.parameters)
    optimizer = build_optimizer(created, lr=1e-2, total_steps=2)
    batch = as_batch(examples(8))
    for rate in (1e-2, 0.0):
        for group in optimizer.param_groups:
            group["lr"] = rate
        before = [p.detach().clone() for p in trained]
        assert step_gradients(created, attached, batch).isfinite()
        assert all(torch.equal(p, kept) for p, kept in zip(trained, before, strict=True))
        optimizer.step()
        optimizer.zero_grad()
        moved = [not torch.equal(p, kept) for p, kept in zip(trained, before, strict=True)]
        assert any(moved) == (rate > 0)
    own = {id(p) for f in getattr(getattr(created, "pair", None), "auxiliary", []) for p in (f.A, f.B)}
    after = {n: p for n, p in attached.named_parameters() if id(p) not in own}
    assert all(torch.equal(after[n], value) for n, value in frozen.items() if n in after)
    assert all(value == value and abs(value) < 1e4 for value in created.means.pop().values())


@pytest.mark.parametrize(("variant", "method"), sorted(REFUSED | SENSIBLE.keys()))
def test_is_refused_by_name_with_the_reason(variant: str, method: str) -> None:
    with pytest.raises(VariantError, match=rf"{variant}\+{method}: .{{30,}}"):
        check_combination(variant, method)


@pytest.mark.parametrize("variant", ["dora", "lora-ga", "hira"])
def test_dual_lora_refuses_by_itself_what_it_could_not_export(variant: str) -> None:
    with pytest.raises(MethodError, match="second_branch=dropped"):
        attach(with_variant(variant), method="dual-lora")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(VariantError, match="unknown variant 'dorra', did you mean 'dora'"):
        check_combination("dorra", "bilora")
    with pytest.raises(VariantError, match="unknown method 'bilra', did you mean 'bilora'"):
        check_combination("dora", "bilra", "nf4")


def test_four_bit_bases_refuse_what_writes_to_them() -> None:
    for variant, method in PAIRS:
        reasons = [VARIANTS[variant].refused_on_quantised, METHODS[method].refused_on_quantised]
        if any(reasons):
            with pytest.raises(
                VariantError, match=rf"{variant}\+{method} on nf4: (variant|method) '.*' is refused: .+"
            ):
                check_combination(variant, method, "nf4")
        elif (variant, method) not in REFUSED:
            check_combination(variant, method, "nf4", method_options=SENSIBLE.get((variant, method)))


def test_what_is_refused_on_four_bits() -> None:
    assert {n for n, v in VARIANTS.items() if v.refused_on_quantised} == {"pissa", "lora-ga", "delora"}
    refused = {n for n, m in METHODS.items() if m.refused_on_quantised}
    assert {"flat-lora", "rwp-full", "full-ft"} <= refused
    assert not {"lora", "lora-sam", "bilora"} & refused
    with pytest.raises(VariantError, match="quantize is 'int8'; expected one of nf4, or none"):
        check_combination("lora", "lora", "int8")


@pytest.mark.parametrize("variant", ["pissa", "lora-ga", "delora"])
def test_a_variant_refuses_a_quantised_model_itself(variant: str) -> None:
    model = tiny_llama()
    created = prepared(variant, model)
    model.is_quantized = True
    with pytest.raises(VariantError, match=f"variant '{variant}' cannot stand on a quantised base"):
        created.attach(model)
    if VARIANTS[variant].changes_base:
        with pytest.raises(VariantError, match="cannot stand on a quantised base"):
            created.attach(model, start="anywhere")
