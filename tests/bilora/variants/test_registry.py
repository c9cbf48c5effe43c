from __future__ import annotations

from typing import Any

import pytest
import torch

from bilora.methods.options import option_names
from bilora.variants import VARIANTS, VariantError, create_variant, variant_names
from tests.tiny import tiny_llama
from tests.variants import logits, with_variant


@pytest.mark.parametrize("name", variant_names())
def test_starts_at_the_models_own_function(name: str) -> None:
    torch.testing.assert_close(logits(with_variant(name)), logits(tiny_llama()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", variant_names())
def test_settings_reach_the_adapter(name: str) -> None:
    model = with_variant(name, rank=3, dropout=0.25, target_modules=["q_proj"])
    config = model.peft_config["default"]
    assert (config.r, set(config.target_modules), str(config.task_type)) == (3, {"q_proj"}, "CAUSAL_LM")
    adapted = [n for n, m in model.named_modules() if hasattr(m, "get_base_layer")]
    assert len(adapted) == 2
    assert all(n.endswith("q_proj") for n in adapted)
    dropouts = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts == [0.25, 0.25]
    if VARIANTS[name].takes_alpha:
        layer = model.get_submodule(adapted[0])
        assert layer.scaling["default"] == 2.0
        assert with_variant(name, alpha=3).peft_config["default"].lora_alpha == 3


@pytest.mark.parametrize("name", variant_names())
def test_describes_itself(name: str) -> None:
    cls = VARIANTS[name]
    assert cls.name == name
    for words in (cls.summary, cls.source):
        assert words
        assert "\n" not in words
    for entry in option_names(cls.options_class):
        assert cls.options_class.__dataclass_fields__[entry].metadata["help"]


def test_options_reach_the_adapter() -> None:
    model = with_variant("delora", strength=3)
    assert {float(p.detach()) for n, p in model.named_parameters() if "lambda" in n} == {3.0}
    assert create_variant("pissa", iterations=4).peft_config().init_lora_weights == "pissa_niter_4"
    torch.testing.assert_close(logits(with_variant("pissa", iterations=4)), logits(tiny_llama()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("dorra", {}, "unknown variant 'dorra', did you mean 'dora'"),
        ("dora", {"ranks": 4}, "no setting 'ranks', did you mean 'rank'"),
        ("lora", {"gamma": 4}, "no setting 'gamma'.*its settings: rank, alpha, dropout, target_modules, task_type"),
        ("lora", {"rank": 0}, "rank is 0; expected an integer >= 1"),
        ("lora", {"rank": True}, "rank is True"),
        ("lora", {"alpha": -1}, "alpha is -1; expected a number > 0"),
        ("lora", {"alpha": "big"}, "alpha is 'big'; expected a number > 0"),
        ("lora", {"alpha": float("inf")}, "alpha is inf; expected a number > 0"),
        ("lora", {"dropout": "none"}, "dropout is 'none'; expected a number in"),
        ("lora", {"dropout": 1.0}, r"dropout is 1\.0; expected a number in \[0, 1\)"),
        ("lora", {"task_type": "CAUSAL"}, "task_type is 'CAUSAL'; expected one of CAUSAL_LM"),
        ("hira", {"alpha": 16}, "variant 'hira' has no scaling, so alpha=16 means nothing; leave it out"),
        ("delora", {"alpha": 16}, "variant 'delora' has no scaling"),
        ("delora", {"strength": -1.0}, "variant 'delora': option strength is -1.0; expected a finite number >= 0"),
        ("pissa", {"iterations": 0}, "variant 'pissa': option iterations is 0; expected an integer >= 1"),
        ("lora-ga", {"formula": "mine"}, "variant 'lora-ga': option formula is 'mine'; expected one of official, peft"),
        ("lora-ga", {"gamma": 0}, r"variant 'lora-ga': option gamma is 0; expected a number in \(0, inf\)"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(VariantError, match=message):
        create_variant(name, **settings)


@pytest.mark.parametrize("name", [n for n in variant_names() if not VARIANTS[n].changes_base])
def test_a_start_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(VariantError, match="takes no start"):
        create_variant(name).attach(tiny_llama(), start="anywhere")
