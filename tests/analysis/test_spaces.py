"""What holds in every space: flags, restoration, moving, the registry."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis import FullSpace, Objective, SpaceError, parameter_space, space_names, vectors
from analysis.spaces import check_space_name

SPACES = ("full", "lora", "tangent")


@pytest.mark.parametrize("name", SPACES)
def test_exactly_the_tensors_require_gradients_inside_and_all_is_restored(tiny_lora, snapshot, name) -> None:
    model = tiny_lora().train()
    next(model.parameters()).requires_grad_(True)
    check = snapshot(model)
    with parameter_space(model, name) as space, space:
        wanted = {id(tensor) for tensor in space.tensors}
        assert {id(p) for p in model.parameters() if p.requires_grad} == wanted
    check()


@pytest.mark.parametrize("name", SPACES)
def test_an_error_inside_restores_bits_and_flags(tiny_lora, snapshot, name) -> None:
    model = tiny_lora()
    check = snapshot(model)
    space = parameter_space(model, name)

    def fail_while_displaced() -> None:
        with space, space.displaced(space.random_direction(seed=0, stream="test"), 3.0):
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_displaced()
    check()
    with space:
        assert all(tensor.requires_grad for tensor in space.tensors)
    check()


@pytest.mark.parametrize("name", SPACES)
def test_displaced_moves_by_the_scaled_vector_and_writes_the_bits_back(tiny_lora, name) -> None:
    model = tiny_lora(dtype=torch.float32)
    with parameter_space(model, name) as space:
        before = [tensor.detach().clone() for tensor in space.tensors]
        direction = space.random_direction(seed=0, stream="test")
        with space.displaced(direction, 1e4):
            for tensor, origin, step in zip(space.tensors, before, direction, strict=True):
                torch.testing.assert_close(tensor.detach(), origin + 1e4 * step)
        assert all(torch.equal(tensor, origin) for tensor, origin in zip(space.tensors, before, strict=True))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("radius", [1e-6, 0.05, 30.0])
def test_scaling_to_a_radius_moves_the_weight_matrices_by_it(tiny_lora, name, radius) -> None:
    model = tiny_lora()
    with parameter_space(model, name) as space:
        layers = space.layers

        def matrices() -> list[torch.Tensor]:
            return [(layer.weight + layer.scaling * layer.B @ layer.A).detach().clone() for layer in layers]

        direction = space.random_direction(seed=0, stream="test")
        before = matrices()
        t = space.scale_to_radius(direction, radius)
        with space.displaced(direction, t):
            moved = vectors.norm([after - old for after, old in zip(matrices(), before, strict=True)])
        assert moved == pytest.approx(radius, rel=1e-8)
        assert space.displacement_norm(vectors.scale(direction, t)) == pytest.approx(radius, rel=1e-9)


def test_an_unknown_space_is_answered_with_the_nearest(tiny_lora) -> None:
    assert space_names == ("full", "all", "lora", "tangent", "auxiliary")
    known = "full, all, lora, tangent, auxiliary, layer:NAME"
    with pytest.raises(SpaceError, match=rf"unknown space 'fulll'; did you mean 'full'\? Known: {known}"):
        parameter_space(tiny_lora(), "fulll")
    with pytest.raises(SpaceError, match="did you mean 'layer:NAME'"):
        check_space_name("layer:")
    with pytest.raises(SpaceError, match="did you mean"):
        check_space_name("zzz")


@pytest.mark.parametrize("name", ["lora", "tangent"])
def test_spaces_of_an_adapter_need_one(tiny_llama, name) -> None:
    with pytest.raises(SpaceError, match=f"the {name} space needs a PEFT LoRA model"):
        parameter_space(tiny_llama(), name)


def test_narrow_weights_cannot_be_displaced(tiny_lora) -> None:
    space = parameter_space(tiny_lora(dtype=torch.bfloat16), "full")
    direction = space.random_direction(seed=0, stream="test")
    with pytest.raises(SpaceError, match=r"bfloat16, in which a small change .* dtype=torch.float32"):
        space.displaced(direction).__enter__()
    with pytest.raises(SpaceError, match="bfloat16"):
        parameter_space(tiny_lora(dtype=torch.bfloat16), "lora")


def test_a_quantised_base_is_no_part_of_the_lora_space(tiny_lora) -> None:
    model = tiny_lora()
    for module in model.modules():
        if hasattr(module, "lora_A"):
            weight = module.base_layer.weight
            module.base_layer.weight = nn.Parameter(torch.zeros(weight.shape, dtype=torch.uint8), requires_grad=False)
    with parameter_space(model, "lora") as space:
        assert len(space.tensors) == 6
    codes = [name for name, parameter in model.named_parameters() if not parameter.is_floating_point()]
    with pytest.raises(SpaceError, match=r"torch\.uint8, which has no gradient"):
        FullSpace(model, parameters=codes[:1])


def test_the_full_space_of_a_plain_module_is_its_linear_weights_or_named_parameters() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    assert parameter_space(model, "full").names == ("0.weight", "2.weight")
    chosen = FullSpace(model, parameters=["0.bias", "2.weight"])
    assert chosen.dimension == 4 + 8
    with pytest.raises(SpaceError, match=r"no parameter '0.wieght'; did you mean '0.weight'"):
        FullSpace(model, parameters=["0.wieght"])
    tied = nn.ModuleDict({"a": model[0], "b": model[0]})
    with pytest.raises(SpaceError, match="one parameter twice"):
        FullSpace(tied, parameters=["a.weight", "b.weight"])
    with pytest.raises(SpaceError, match="is empty"):
        parameter_space(nn.Tanh(), "full")


def test_row_norms_of_plain_parameters() -> None:
    model = nn.Conv2d(2, 3, 2)
    space = FullSpace(model, parameters=["weight", "bias"])
    weight, bias = space.row_norms()
    torch.testing.assert_close(weight, model.weight.detach().flatten(1).norm(dim=1))
    torch.testing.assert_close(bias, model.bias.detach().norm()[None])


def test_full_gradient_is_that_of_the_merged_model(tiny_lora, batches) -> None:
    model = tiny_lora()
    with parameter_space(model, "full") as space:
        found = Objective(model, batches).gradient(space.tensors)
    merged = model.merge_and_unload()
    names = [name.removeprefix("base_model.model.") + ".weight" for name in space.names]
    with FullSpace(merged, parameters=names) as plain:
        expected = Objective(merged, batches).gradient(plain.tensors)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
