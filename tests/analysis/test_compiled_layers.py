"""Compiled layers against eager double backward: decoder, encoder-decoder and layer-norm models, every operator."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from analysis import (
    EmpiricalFisherOperator,
    GaussNewtonOperator,
    HessianOperator,
    Objective,
    SecondDerivativeError,
    SettingsError,
    parameter_space,
    seq2seq_lm_loss,
    vectors,
)
from analysis.operators import compiled_layers
from analysis.operators.layer_kind import layer_kind


@pytest.fixture(autouse=True)
def traced_only(monkeypatch, request):
    """Trace, partition and run without generating code, which takes a minute a kind on the CPU."""
    if "inductor" not in request.node.name:
        monkeypatch.setattr(compiled_layers, "BACKEND", "aot_eager")
    # Where somebody listens to every logger, as pytest does, PyTorch writes all its graphs out.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def relative_error(found, expected):
    return vectors.norm(vectors.axpy(-1.0, expected, found)) / vectors.norm(expected)


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=13, n_embd=8, n_layer=2, n_head=2, n_positions=16, initializer_range=0.4, resid_pdrop=0.3
    )
    return GPT2LMHeadModel(config).double()


def t5():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=13, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2, decoder_start_token_id=0,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5ForConditionalGeneration(config).double()


def checkpointed(model):
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True


@pytest.mark.parametrize(
    ("name", "again"),
    [("full", False), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("full", True), ("lora", False)))],
)
def test_a_lora_model_has_the_same_products(tiny_lora, batches, snapshot, name, again) -> None:
    model = tiny_lora(layers=3, config={"lora_dropout": 0.5})
    # Of unequal batches the second is compiled anew, for any length; once is enough.
    objective = Objective(model, batches if again else batches[:1])
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        curved = GaussNewtonOperator(objective, space).matvec(direction)
    if again:
        checkpointed(model)
    model.train()
    check = snapshot(model)
    with parameter_space(model, name) as space:
        operator = HessianOperator(objective, space, route="auto", compile_layers=True)
        assert operator.choose().route == "forward"
        assert relative_error(operator.matvec(direction), expected) < 1e-9
        found = GaussNewtonOperator(objective, space, compile_layers=True).matvec(direction)
        assert relative_error(found, curved) < 1e-9
    check()


@pytest.mark.parametrize(
    ("build", "name"),
    [(gpt2, "all"), *(pytest.param(t5, name, marks=pytest.mark.slow) for name in ("full", "all"))],
)
def test_layer_norms_position_biases_and_tied_embeddings_have_their_curvature(batches, build, name) -> None:
    model = build().train()
    loss = {"loss": seq2seq_lm_loss} if build is t5 else {}
    objective = Objective(model, batches[:1], **loss)
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        eager = HessianOperator(objective, space, route="forward").matvec(direction)
        found = HessianOperator(objective, space, route="forward", compile_layers=True).matvec(direction)
    # T5's own norms compute in float32 whatever the model's type.
    tolerance = 1e-9 if build is gpt2 else 2e-5
    assert relative_error(eager, expected) < tolerance
    assert relative_error(found, expected) < tolerance


def test_layers_of_one_kind_are_compiled_once(tiny_llama, batches) -> None:
    model = tiny_llama(layers=4)
    with parameter_space(model, "full") as space:
        objective = Objective(model, batches[:1])
        operator = EmpiricalFisherOperator(objective, space, compile_layers=True)
        direction = space.random_direction(seed=0, stream="test")
        torch._dynamo.utils.counters.clear()
        found = operator.matvec(direction)
        expected = EmpiricalFisherOperator(objective, space).matvec(direction)
    assert relative_error(found, expected) < 1e-9
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_kind_is_types_settings_and_shapes(tiny_lora) -> None:
    model = gpt2()
    first, second = model.transformer.h
    assert layer_kind(first) == layer_kind(second)
    second.ln_1.eps = 1e-3
    assert layer_kind(first) != layer_kind(second)
    second.ln_1.eps = first.ln_1.eps
    second.mlp.act = nn.ReLU()
    assert layer_kind(first) != layer_kind(second)
    layers = tiny_lora(layers=2).base_model.model.model.layers
    assert layer_kind(layers[0]) == layer_kind(layers[1])
    layers[1].self_attn.q_proj.scaling["default"] = 7.0
    assert layer_kind(layers[0]) != layer_kind(layers[1])


def test_layers_with_other_settings_run_as_themselves(tiny_lora, batches) -> None:
    """Adapters scale the middle layer otherwise, and every layer computes its activation by a function of its own."""
    model = tiny_lora(layers=3)
    layers = model.base_model.model.model.layers
    layers[1].self_attn.q_proj.scaling["default"] = 8.0
    layers[2].mlp.act_fn = nn.GELU(approximate="tanh")
    objective = Objective(model, batches[:1])
    with parameter_space(model, "lora") as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        found = HessianOperator(objective, space, route="forward", compile_layers=True).matvec(direction)
    assert relative_error(found, expected) < 1e-9


def test_an_operator_made_before_its_space_is_entered_sees_the_space(tiny_lora, batches) -> None:
    """The auxiliary adapter becomes active with the space."""
    model = tiny_lora()
    model.add_adapter("auxiliary", model.peft_config["default"])
    model.double()
    for name, parameter in model.named_parameters():
        if "lora_B.auxiliary" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    objective, space = Objective(model, batches[:1]), parameter_space(model, "auxiliary")
    direction = space.random_direction(seed=0, stream="test")
    operator = HessianOperator(objective, space, route="forward", compile_layers=True)
    assert relative_error(operator.matvec(direction), HessianOperator(objective, space).matvec(direction)) < 1e-9


@pytest.mark.slow
def test_masks_in_other_places_are_other_functions() -> None:
    model = t5().eval()
    ids = torch.randint(0, 13, (2, 7), generator=torch.Generator().manual_seed(2))
    left, right = torch.ones_like(ids), torch.ones_like(ids)
    left[0, :2] = 0
    right[1, -3:] = 0
    whole = {"input_ids": ids, "labels": ids}
    masked = [
        {**whole, "attention_mask": torch.ones_like(ids), "decoder_attention_mask": left},
        {**whole, "attention_mask": right},
    ]
    objective = Objective(model, masked, loss=seq2seq_lm_loss)
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        found = HessianOperator(objective, space, route="forward", compile_layers=True).matvec(direction)
    assert relative_error(found, expected) < 2e-5


@pytest.mark.slow
def test_more_kinds_than_pytorch_allows_versions_of_one_function(tiny_llama, batches) -> None:
    model = tiny_llama(layers=9)
    for number, layer in enumerate(model.model.layers):
        layer.self_attn.scaling *= 1 + number / 10
    objective = Objective(model, batches[:1])
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        found = GaussNewtonOperator(objective, space, compile_layers=True).matvec(direction)
        expected = GaussNewtonOperator(objective, space).matvec(direction)
    assert relative_error(found, expected) < 1e-9


@pytest.mark.parametrize("name", ["full", pytest.param("all", marks=pytest.mark.slow)])
def test_narrow_weights_computed_in_float32_have_the_wide_hessian(tiny_llama, batches, snapshot, name) -> None:
    narrow, wide = tiny_llama(layers=2, dtype=torch.bfloat16, tied=True), tiny_llama(layers=2, tied=True)
    wide.load_state_dict(narrow.state_dict())
    check = snapshot(narrow)
    options = {"compile_layers": True, "compute_dtype": torch.float32}
    with parameter_space(narrow, name) as space:
        objective = Objective(narrow, batches[:1])
        operator = HessianOperator(objective, space, route="forward", **options)
        direction = operator.random_direction(seed=0, stream="test")
        found = operator.matvec(direction)
        curved = GaussNewtonOperator(objective, space, **options).matvec(direction)
    check()
    with parameter_space(wide, name) as space:
        objective, exact = Objective(wide, batches[:1]), [block.double() for block in direction]
        expected = HessianOperator(objective, space).matvec(exact)
        expected_curved = GaussNewtonOperator(objective, space).matvec(exact)
    # What is left is the rounding of each weight's share to the weights' type.
    assert relative_error(found, expected) < 4e-3
    assert relative_error(curved, expected_curved) < 4e-3
    with pytest.raises(SettingsError, match=r"compute_dtype=torch\.float32 needs compile_layers=True"):
        GaussNewtonOperator(objective, space, compute_dtype=torch.float32)


def test_what_cannot_be_compiled_is_refused(tiny_lora, batches) -> None:
    model = tiny_lora(config={"use_dora": True})
    objective = Objective(model, batches)
    space = parameter_space(model, "full")
    with pytest.raises(SettingsError, match=r"q_proj cannot be compiled, since a hook .* leave compile_layers off"):
        HessianOperator(objective, space, route="forward", compile_layers=True).matvec(
            vectors.zeros_like(space.tensors)
        )
    plain = tiny_lora()
    block = plain.base_model.model.model.layers[0]
    block.forward = lambda *args, own=block.forward, **options: own(*args, **options)
    space = parameter_space(plain, "full")
    with pytest.raises(SettingsError, match=r"LlamaDecoderLayer cannot be compiled, since a hook or another forward"):
        GaussNewtonOperator(Objective(plain, batches), space, compile_layers=True).matvec(
            vectors.zeros_like(space.tensors)
        )
    with pytest.raises(SettingsError, match="needs the forward route; found route='reverse'"):
        HessianOperator(objective, space, route="reverse", compile_layers=True)
    linear = nn.Linear(2, 2)
    with pytest.raises(SettingsError, match="Linear has no layers to compile"):
        HessianOperator(Objective(linear, [1]), parameter_space(linear, "full"), route="auto", compile_layers=True)


def test_a_wrong_third_derivative_is_found(batches, monkeypatch) -> None:
    """Left as they are, layer norms have one: their mean and variance would count as constants."""
    monkeypatch.setattr("analysis.operators.layer_kind._layer_norm", lambda module, x: type(module).forward(module, x))
    model = gpt2()
    with parameter_space(model, "all") as space:
        operator = HessianOperator(Objective(model, batches[:1]), space, route="forward", compile_layers=True)
        with pytest.raises(SecondDerivativeError, match=r"compiled product of a GPT2Block differs .* third derivative"):
            operator.matvec(space.random_direction(seed=0, stream="test"))


@pytest.mark.slow
def test_inductor_gives_the_same_product(tiny_llama, batches) -> None:
    model = tiny_llama(layers=2)
    with parameter_space(model, "full") as space:
        objective = Objective(model, batches)
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        found = HessianOperator(objective, space, route="forward", compile_layers=True).matvec(direction)
    assert relative_error(found, expected) < 1e-9
