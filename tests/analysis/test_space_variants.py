"""Spaces of PEFT variants, quantised bases, two active adapters, single layers, everything; T5 besides Llama."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import DeloraConfig, HiraConfig, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from analysis import (
    FullSpace,
    HessianOperator,
    Objective,
    SpaceError,
    adapted_layers,
    parameter_space,
    seq2seq_lm_loss,
    vectors,
)
from analysis.spaces import AllSpace

TARGETS = ["q_proj", "v_proj", "down_proj"]


def hira(base):
    return get_peft_model(base, HiraConfig(r=2, target_modules=TARGETS, init_weights=False))


def delora(base):
    return get_peft_model(base, DeloraConfig(r=2, target_modules=TARGETS, init_weights=False))


def dora(base):
    model = get_peft_model(base, LoraConfig(r=2, target_modules=TARGETS, use_dora=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3)
    return model


@pytest.fixture(params=[hira, delora, dora], ids=lambda build: build.__name__)
def variant(request, tiny_llama) -> PeftModel:
    base = tiny_llama()
    torch.manual_seed(1)
    return request.param(base).double().eval()


def merged_space(model):
    """Return the merged model and its space of the same matrices."""
    names = [layer.removeprefix("base_model.model.") + ".weight" for layer in parameter_space(model, "full").names]
    merged = model.merge_and_unload()
    return merged, FullSpace(merged, parameters=names)


@pytest.mark.parametrize("route", ["reverse", "forward", "difference"])
def test_the_full_space_of_a_variant_is_that_of_its_merged_model(variant, batches, snapshot, route) -> None:
    check = snapshot(variant)
    with parameter_space(variant, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        gradient = Objective(variant, batches).gradient(space.tensors)
        product = HessianOperator(Objective(variant, batches), space, route=route).matvec(direction)
        matrices = list(space.merged_weights())
        norms = space.row_norms()
        with space.displaced(direction, 0.1):
            moved = Objective(variant, batches).value()
    check()
    merged, plain = merged_space(variant)
    with plain:
        objective = Objective(merged, batches)
        expected = [objective.gradient(plain.tensors), HessianOperator(objective, plain).matvec(direction)]
        tolerance = 1e-4 if route == "difference" else 1e-8
        for found, wanted, bound in ((gradient, expected[0], 1e-8), (product, expected[1], tolerance)):
            assert vectors.norm(vectors.axpy(-1.0, wanted, found)) < bound * vectors.norm(wanted)
        for found, rows, tensor in zip(matrices, norms, plain.tensors, strict=True):
            torch.testing.assert_close(found, tensor.detach(), rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(rows, tensor.detach().norm(dim=1), rtol=1e-7, atol=1e-9)
        with plain.displaced(direction, 0.1):
            assert moved == pytest.approx(objective.value(), rel=1e-9)


@pytest.mark.parametrize("name", ["lora", "tangent"])
def test_spaces_of_factors_refuse_a_variant_by_name(variant, name) -> None:
    with pytest.raises(SpaceError, match=r"(HIRA|DELORA|Dora\w+), whose matrix is not W0 \+ s B A.*full space"):
        parameter_space(variant, name)


@pytest.mark.parametrize("initialisation", ["pissa", "lora_ga"])
def test_initialisations_that_change_the_base_are_plain_lora(tiny_llama, batches, initialisation) -> None:
    base = tiny_llama(dtype=torch.float32)
    if initialisation == "pissa":
        model = get_peft_model(base, LoraConfig(r=2, target_modules=TARGETS, init_lora_weights="pissa"))
    else:
        # What LoRA-GA leaves behind: factors that are not zero, and a base from which their product was taken.
        model = get_peft_model(base, LoraConfig(r=2, target_modules=TARGETS, init_lora_weights="gaussian"))
        with torch.no_grad():
            for layer in adapted_layers(model):
                layer.B.normal_(0.0, 0.3)
                layer.weight.sub_(layer.scaling * layer.B @ layer.A)
    model = model.double().eval()
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        found = HessianOperator(Objective(model, batches), space).matvec(direction)
    merged, plain = merged_space(model)
    with plain:
        expected = HessianOperator(Objective(merged, batches), plain).matvec(direction)
    assert vectors.norm(vectors.axpy(-1.0, expected, found)) < 1e-8 * vectors.norm(expected)


class Quantised(nn.Linear):
    """A linear layer with a table of four-bit codes in place of its weight, as an NF4 base has."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=False, dtype=plain.weight.dtype)
        self.width = float(plain.weight.detach().abs().max()) / 7
        codes = (plain.weight.detach() / self.width).round().add(8).to(torch.uint8)
        self.weight = nn.Parameter(codes, requires_grad=False)

    def dequantised(self):
        return (self.weight.double() - 8) * self.width

    def forward(self, x):
        return nn.functional.linear(x, self.dequantised().to(x.dtype))


@pytest.mark.parametrize("name", ["full", "tangent", "layer:v_proj"])
@pytest.mark.parametrize("route", ["reverse", "forward", "difference"])
def test_a_quantised_base_has_the_curvature_of_its_dequantised_matrices(
    tiny_lora, batches, snapshot, name, route
) -> None:
    quantised, plain = tiny_lora(), tiny_lora()
    for model in (quantised, plain):
        for module in model.modules():
            if hasattr(module, "lora_A"):
                codes = Quantised(module.base_layer)
                if model is quantised:
                    module.base_layer = codes
                else:
                    module.base_layer.weight.data.copy_(codes.dequantised())
    check = snapshot(quantised)
    found = {}
    for key, model in (("quantised", quantised), ("plain", plain)):
        with parameter_space(model, name) as space:
            direction = space.random_direction(seed=0, stream="test")
            operator = HessianOperator(Objective(model, batches), space, route=route)
            found[key] = operator.matvec(direction), space.row_norms()
    check()
    for one, other in zip(found["quantised"], found["plain"], strict=True):
        assert vectors.norm(vectors.axpy(-1.0, other, one)) < 1e-4 * vectors.norm(other)


def test_a_quantised_base_that_computes_in_bfloat16_is_not_moved(tiny_lora, batches) -> None:
    model = tiny_lora(dtype=torch.bfloat16)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.base_layer = Quantised(module.base_layer)
    with parameter_space(model, "full") as space:
        Objective(model, batches).gradient(space.tensors)
        with pytest.raises(SpaceError, match=r"q_proj computes in torch.bfloat16"):
            space.displaced(space.random_direction(seed=0, stream="test")).__enter__()


def second_adapter(model, targets=TARGETS) -> None:
    model.add_adapter("auxiliary", LoraConfig(r=3, lora_alpha=6, target_modules=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "auxiliary" in name:
                parameter.data = parameter.data.double().normal_(0.0, 0.3)


@pytest.mark.parametrize("active", [["default"], ["default", "auxiliary"]])
@pytest.mark.parametrize("name", ["full", "lora", "tangent", "auxiliary"])
def test_spaces_work_with_the_auxiliary_on_and_off(
    tiny_lora, batches, dense_hessian, columns, snapshot, active, name
) -> None:
    model = tiny_lora(targets=["q_proj"])
    second_adapter(model, ["q_proj"])
    model.base_model.set_adapter(active)
    check = snapshot(model)
    with parameter_space(model, name) as space:
        found = columns(HessianOperator(Objective(model, batches), space).matvec, space)
        expected = dense_hessian(model, batches, space)
        if name == "tangent":
            projector = columns(space.project, space)
            expected = projector @ expected @ projector
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
        if name in ("lora", "auxiliary"):
            assert {layer.A.shape[0] for layer in space.layers} == {2 if name == "lora" else 3}
    assert model.base_model.active_adapters == active
    check()


def test_row_norms_and_merged_weights_count_every_active_adapter(tiny_lora) -> None:
    model = tiny_lora()
    second_adapter(model)
    model.base_model.set_adapter(["default", "auxiliary"])
    space = parameter_space(model, "full")
    matrices, norms = list(space.merged_weights()), space.row_norms()
    for layer, matrix, rows in zip(space.layers, matrices, norms, strict=True):
        module = model.get_submodule(layer.name)
        deltas = module.get_delta_weight("default") + module.get_delta_weight("auxiliary")
        torch.testing.assert_close(matrix, module.base_layer.weight.detach() + deltas)
        torch.testing.assert_close(rows, matrix.norm(dim=1))


def test_a_named_adapter_is_chosen_and_an_unknown_one_answered_with_the_nearest(tiny_lora) -> None:
    model = tiny_lora()
    second_adapter(model)
    factors = parameter_space(model, "tangent", adapter="auxiliary").factors
    assert {layer.A.shape[0] for layer in factors.values()} == {3}
    with pytest.raises(SpaceError, match=r"no layer .* named 'auxilary'; the nearest is 'auxiliary'"):
        parameter_space(model, "lora", adapter="auxilary")
    with pytest.raises(SpaceError, match=r"named 'auxiliary'; the nearest is 'default'"):
        parameter_space(tiny_lora(), "auxiliary")


def test_an_adapter_made_for_another_base_is_refused(tiny_lora) -> None:
    model = tiny_lora()
    layer = model.get_submodule(adapted_layers(model)[0].name)
    layer.base_layer = nn.Linear(8, 6, bias=False)
    with pytest.raises(SpaceError, match=r"q_proj is made for a layer 8 -> 8, but its base layer is 8 -> 6"):
        parameter_space(model, "full")


def test_a_layer_is_found_by_the_end_of_its_name(tiny_lora) -> None:
    model = tiny_lora(layers=2)
    full = parameter_space(model, "full")
    one = parameter_space(model, "layer:layers.1.mlp.down_proj")
    assert one.names == (full.names[-1],)
    assert one.tensors[0] is full.tensors[-1]
    assert one.name == f"layer:{full.names[-1]}"
    assert parameter_space(model, "layer:embed_tokens").tensors[0] is model.get_input_embeddings().weight
    with pytest.raises(SpaceError, match=r"2 layers are called 'down_proj' .*write more of the name"):
        parameter_space(model, "layer:down_proj")
    with pytest.raises(SpaceError, match=r"no layer 'layers.1.mlp.down_prj' .* 'base_model.*layers.1.mlp.down_proj'"):
        parameter_space(model, "layer:layers.1.mlp.down_prj")


def test_all_holds_every_parameter_once(tiny_llama, tiny_lora) -> None:
    tied = tiny_llama(tied=True)
    assert parameter_space(tied, "all").dimension == sum(p.numel() for p in tied.parameters())
    adapted = tiny_lora()
    assert AllSpace(adapted).dimension == sum(p.numel() for p in tiny_llama().parameters())


def test_linear_weights_tied_to_an_embedding_are_no_part_of_full(tiny_llama) -> None:
    tied, untied = (parameter_space(tiny_llama(tied=state), "full").names for state in (True, False))
    assert set(untied) - set(tied) == {"lm_head.weight"}
    shared = nn.Linear(3, 3)
    assert parameter_space(nn.Sequential(shared, nn.Tanh(), shared), "full").names == ("0.weight",)


def tiny_t5(tied: bool) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=13,
        d_model=8,
        d_kv=4,
        d_ff=12,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        tie_word_embeddings=tied,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        pad_token_id=0,
    )
    return T5ForConditionalGeneration(config).double().eval()


@pytest.mark.parametrize("route", ["reverse", "forward", "difference"])
@pytest.mark.parametrize("name", ["full", "all"])
def test_t5_agrees_with_the_hessian_of_torch_func(name, route) -> None:
    model = tiny_t5(tied=True)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 13, (2, 5), generator=generator)
    labels = torch.randint(1, 13, (2, 4), generator=generator)
    labels[0, 2:] = -100
    batch = {"input_ids": ids, "labels": labels}
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        found = HessianOperator(Objective(model, [batch], loss=seq2seq_lm_loss), space, route=route).matvec(direction)
        keys = {id(parameter): key for key, parameter in model.named_parameters()}
        names = [keys[id(tensor)] for tensor in space.tensors]

        def loss(*weights):
            values = dict(zip(names, weights, strict=True))
            logits = torch.func.functional_call(model, values, kwargs={"input_ids": ids, "labels": labels}).logits
            return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

        weights = tuple(tensor.detach() for tensor in space.tensors)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            expected = list(torch.autograd.functional.hvp(loss, weights, tuple(direction))[1])
    # T5 takes its norms and softmax in float32 whatever the model's type.
    assert vectors.norm(vectors.axpy(-1.0, expected, found)) < (2e-3 if route == "difference" else 1e-5) * vectors.norm(
        expected
    )


def test_a_layer_that_only_the_auxiliary_covers_is_no_part_of_the_primary_space(tiny_lora) -> None:
    model = tiny_lora(targets=["q_proj"])
    second_adapter(model)
    model.base_model.set_adapter(["default", "auxiliary"])
    assert {layer.name.split(".")[-1] for layer in parameter_space(model, "lora").layers} == {"q_proj"}
    assert {name.split(".")[-1] for name in parameter_space(model, "full").names} == set(TARGETS)
    with pytest.raises(SpaceError, match="does not carry the adapter whose tangent space is wanted"):
        parameter_space(model, "tangent", adapter="default")
