from __future__ import annotations

import pytest
import torch

from analysis import DirectionError, FullSpace, SettingsError, parameter_space, vectors
from analysis.landscape import filter_normalise, filter_normalised_direction, init_to_final, unit_direction


def test_rows_of_a_direction_have_the_norms_of_the_merged_rows(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "full") as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        for block, layer in zip(direction, space.layers, strict=True):
            merged = (layer.weight + layer.scaling * layer.B @ layer.A).detach()
            torch.testing.assert_close(block.norm(dim=1), merged.norm(dim=1), rtol=1e-10, atol=0.0)


def test_rows_of_a_direction_have_the_norms_of_the_balanced_rows(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "lora") as space:
        for block, weights in zip(filter_normalised_direction(space, seed=0, index=0), space.tensors, strict=True):
            torch.testing.assert_close(block.norm(dim=1), weights.detach().norm(dim=1), rtol=1e-10, atol=0.0)


def test_a_tangent_direction_lies_in_the_tangent_space(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "tangent") as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        assert vectors.norm(vectors.axpy(-1.0, space.project(direction), direction)) < 1e-12


def test_models_share_the_draws_and_differ_in_the_row_norms_alone(tiny_lora) -> None:
    found = []
    for factor in (1.0, 3.0):
        model = tiny_lora()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "base_layer" in name or "lora_B" in name:
                    parameter.mul_(factor)
        found.append(filter_normalised_direction(parameter_space(model, "full"), seed=0, index=1))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(3.0 * one, other, rtol=1e-10, atol=0.0)


def test_rows_of_embeddings_are_tokens_and_norm_weights_are_one_row_or_fixed(tiny_llama) -> None:
    model = tiny_llama()
    with FullSpace(model, parameters=["model.embed_tokens.weight", "model.norm.weight"]) as space:
        embedding, norm = (tensor.detach() for tensor in space.tensors)
        moved = filter_normalised_direction(space, seed=0, index=0)
        torch.testing.assert_close(moved[0].norm(dim=1), embedding.norm(dim=1), rtol=1e-10, atol=0.0)
        assert moved[1].norm().item() == pytest.approx(norm.norm().item(), rel=1e-10)
        assert moved[1].abs().max() < norm.norm()
        fixed = filter_normalised_direction(space, seed=0, index=0, one_dimensional="fixed")
        assert torch.equal(fixed[0], moved[0])
        assert not fixed[1].any()
        with pytest.raises(SettingsError, match="one_dimensional is 'none'"):
            filter_normalise(space, moved, one_dimensional="none")


def test_rows_of_convolutions_are_output_channels_and_zero_rows_stay() -> None:
    model = torch.nn.Conv2d(2, 3, 2).double()
    with FullSpace(model, parameters=["weight", "bias"]) as space:
        draw = space.random_direction(seed=0, stream="test")
        draw[0][1] = 0.0
        moved = filter_normalise(space, draw)
        rows = moved[0].flatten(1).norm(dim=1)
        expected = model.weight.detach().flatten(1).norm(dim=1)
        assert rows[1] == 0.0
        torch.testing.assert_close(rows[[0, 2]], expected[[0, 2]], rtol=1e-10, atol=0.0)


def test_tied_weights_move_once_and_both_uses_follow(tiny_llama) -> None:
    model = tiny_llama(tied=True)
    with FullSpace(model, parameters=["lm_head.weight"]) as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        with space.displaced(direction):
            assert model.lm_head.weight is model.model.embed_tokens.weight
            moved = model.model.embed_tokens.weight.detach().clone()
        torch.testing.assert_close(moved - model.lm_head.weight, direction[0], rtol=1e-9, atol=1e-12)


def test_unit_directions_have_length_one() -> None:
    found = unit_direction([torch.tensor([3.0]), torch.tensor([4.0])])
    assert [block.item() for block in found] == pytest.approx([0.6, 0.8])
    with pytest.raises(DirectionError, match="vector is zero"):
        unit_direction([torch.zeros(3)])


def test_init_to_final_is_the_adapters_change_or_the_difference_to_given_weights(tiny_lora, tiny_llama) -> None:
    space = parameter_space(tiny_lora(), "full")
    base = [layer.weight.detach() for layer in space.layers]
    merged = [(layer.weight + layer.scaling * layer.B @ layer.A).detach() for layer in space.layers]
    for found in (init_to_final(space), init_to_final(space, base)):
        for block, w0, w in zip(found, base, merged, strict=True):
            torch.testing.assert_close(block, w - w0, rtol=1e-9, atol=1e-12)
    assert all(block.abs().max() < 1e-12 for block in init_to_final(space, merged))
    plain = parameter_space(tiny_llama(), "full")
    with pytest.raises(DirectionError, match="give initial="):
        init_to_final(plain)
    with pytest.raises(DirectionError, match="no plain LoRA adapter"):
        init_to_final(parameter_space(tiny_lora(config={"use_dora": True}), "full"))
    with pytest.raises(SettingsError, match="shapes of the full space"):
        init_to_final(plain, base)


def test_init_to_final_of_everything_leaves_the_rest_where_it_is(tiny_lora) -> None:
    model = tiny_lora()
    space = parameter_space(model, "all")
    found = dict(zip(space.names, init_to_final(space), strict=True))
    for name, change in zip(
        (layer.name for layer in space.layers), init_to_final(parameter_space(model, "full")), strict=True
    ):
        torch.testing.assert_close(found.pop(name), change, rtol=1e-9, atol=1e-12)
    assert found
    assert not any(block.any() for block in found.values())
