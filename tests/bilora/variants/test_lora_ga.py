"""LoRA-GA by the published formula, and by PEFT's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraGAConfig, get_peft_model
from peft.tuners.lora.loraga import preprocess_loraga
from torch import Tensor, nn

from bilora.effective import effective_change
from bilora.factors import lora_factors
from bilora.residual_base import start_factors
from bilora.variants import VariantError, create_variant
from bilora.variants.gradients import estimate_gradients
from bilora.variants.lora_ga import LoraGa, official_start
from tests.tiny import TinyMlp, as_batch, examples, lora_config, tiny_llama
from tests.variants import logits, prepared, with_variant


def dense_gradients(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """dL/dW of every linear layer of the plain model, by autograd."""
    model = tiny_llama()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"}
    found = torch.autograd.grad(model(**batch).loss, [m.weight for m in layers.values()])
    return dict(zip(layers, found, strict=True))


def test_start_is_the_published_formula() -> None:
    """A0 = m^(1/4) / sqrt(gamma) V_1..r^T and B0 = m^(1/4) / sqrt(gamma) U_r+1..2r, by a dense SVD."""
    model = with_variant("lora-ga", rank=3)
    gradients = dense_gradients(as_batch(examples()))
    for f in lora_factors(model):
        gradient = gradients[f.name.removeprefix("base_model.model.")].double()
        U, S, Vh = torch.linalg.svd(gradient, full_matrices=False)
        scale = gradient.shape[0] ** 0.25 / 16**0.5
        assert S[5] > 1.0001 * S[6]
        for rows, expected in ((f.A.detach().double(), Vh[:3]), (f.B.detach().double().T, U[:, 3:6].T)):
            torch.testing.assert_close(
                rows @ rows.T, scale**2 * torch.eye(3, dtype=torch.float64), rtol=1e-4, atol=1e-5
            )
            # Signs are the SVD's own; a subspace and its order are not.
            overlap = (rows @ expected.T).abs() / scale
            torch.testing.assert_close(overlap, torch.eye(3, dtype=torch.float64), rtol=0, atol=5e-3)


def test_first_step_goes_where_full_fine_tuning_would() -> None:
    """The change of W by one small gradient step of (A, B) is along -G more than plain LoRA's."""
    cosines = {}
    for name in ("lora", "lora-ga"):
        model = with_variant(name)
        batch = as_batch(examples())
        gradients = dense_gradients(batch)
        layers = {f.name: model.get_submodule(f.name) for f in lora_factors(model)}
        before = {n: effective_change(layer, "default") for n, layer in layers.items()}
        model(**batch).loss.backward()
        with torch.no_grad():
            for f in lora_factors(model):
                f.A.sub_(1e-3 * f.A.grad)
                f.B.sub_(1e-3 * f.B.grad)
        step = torch.cat([(effective_change(m, "default") - before[n]).flatten() for n, m in layers.items()])
        full = torch.cat([-gradients[n.removeprefix("base_model.model.")].flatten() for n in layers])
        cosines[name] = float(nn.functional.cosine_similarity(step, full, dim=0))
    assert cosines["lora-ga"] > 0.9 > cosines["lora"]


def test_start_does_not_depend_on_the_scale_of_the_loss_and_peft_s_does() -> None:
    batch = as_batch(examples())
    moved = {}
    for formula in ("official", "peft"):
        found = []
        for factor in (1.0, 10.0):
            model = tiny_llama()
            variant = create_variant("lora-ga", rank=4, task_type="CAUSAL_LM", formula=formula)
            variant.prepare(model, lambda model=model, factor=factor: (factor * model(**batch).loss).backward())
            torch.manual_seed(0)
            attached = variant.attach(model)
            torch.testing.assert_close(logits(attached), logits(tiny_llama()), rtol=1e-4, atol=1e-5)
            found.append([f.B.detach().norm() for f in lora_factors(attached)])
        moved[formula] = torch.stack(found[1]) / torch.stack(found[0])
    torch.testing.assert_close(moved["official"], torch.ones(14), rtol=1e-3, atol=0)
    torch.testing.assert_close(moved["peft"], torch.full((14,), 10.0), rtol=1e-3, atol=0)


@pytest.mark.filterwarnings(
    "ignore:Full backward hook is firing:UserWarning"
)  # PEFT's own estimate hooks a frozen layer
def test_peft_formula_is_pefts() -> None:
    names = ["q_proj", "v_proj"]
    batch = as_batch(examples())
    ours = with_variant("lora-ga", formula="peft", target_modules=names)
    config = lora_config(target_modules=names, init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig())
    model = tiny_llama()
    preprocess_loraga(model, config, lambda: model(**batch).loss.backward())
    torch.manual_seed(3)
    theirs = get_peft_model(model, config)
    for mine, reference in zip(lora_factors(ours), lora_factors(theirs), strict=True):
        torch.testing.assert_close(mine.A, reference.A, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(mine.B, reference.B, rtol=1e-4, atol=1e-8)
        start = start_factors(ours.get_submodule(mine.name))
        assert start is not None
        assert torch.equal(start[1], mine.B)


def test_gradients_of_several_batches_add_up_and_leave_the_model_alone() -> None:
    model, rows = tiny_llama(), examples()
    model.model.norm.weight.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    values = [p.detach().clone() for p in model.parameters()]
    batches = [as_batch(rows[i : i + 4]) for i in range(0, 16, 4)]

    def forward_backward() -> None:
        for batch in batches:
            model(**batch).loss.backward()

    state = torch.get_rng_state()
    found = estimate_gradients(model, lora_config(), forward_backward, smallest=8)
    assert torch.equal(torch.get_rng_state(), state)
    parts = [dense_gradients(batch) for batch in batches]
    assert found.keys() == parts[0].keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, sum(part[name] for part in parts), rtol=1e-4, atol=1e-6)
    assert flags == [p.requires_grad for p in model.parameters()]
    assert all(torch.equal(p, v) for p, v in zip(model.parameters(), values, strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_gradients_of_a_bf16_model_are_summed_in_fp32() -> None:
    model = tiny_llama().to(torch.bfloat16)
    batch = as_batch(examples())
    found = estimate_gradients(model, lora_config(), lambda: model(**batch).loss.backward(), smallest=8)
    assert {g.dtype for g in found.values()} == {torch.float32}


def test_one_seed_one_start_and_the_global_stream_is_left_alone() -> None:
    gradient = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    first, second = (official_start(gradient, 2, scale=1.0, seed=5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def failing() -> None:
    raise RuntimeError("no data")


def test_gradients_that_were_there_before_are_neither_counted_nor_lost() -> None:
    batch = as_batch(examples())
    expected, model = dense_gradients(batch), tiny_llama()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    config = lora_config(target_modules="all-linear")
    found = estimate_gradients(model, config, lambda: model(**batch).loss.backward(), smallest=2)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(p.grad, torch.full_like(p, 7.0)) for p in model.parameters() if p.grad is not None)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_failing_estimate_leaves_the_model_as_it_was() -> None:
    model = tiny_llama()
    with pytest.raises(RuntimeError, match="no data"):
        estimate_gradients(model, lora_config(), failing, smallest=2)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 5}, r"k_proj has a weight of shape \(8, 16\), too small for 10 singular vectors; choose rank <= 4"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens is a Embedding"),
        ({"target_modules": ["nowhere"]}, r"target_modules .*'nowhere'.* matches no module"),
    ],
)
def test_layers_it_cannot_start_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(VariantError, match=message):
        prepared("lora-ga", tiny_llama(), **settings)


def test_asks_for_gradients_before_it_is_attached() -> None:
    variant = LoraGa(rank=2)
    with pytest.raises(VariantError, match=r"call prepare\(model, forward_backward\) before attach"):
        variant.attach(tiny_llama())
    with pytest.raises(VariantError, match="left no gradient in 2 of 2 layers"):
        LoraGa(rank=2, target_modules=["first", "second"]).prepare(TinyMlp(), lambda: None)
