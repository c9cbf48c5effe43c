from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import DirectionError, FullSpace, SettingsError, parameter_space, vectors
from analysis.sharpness import NORMS, WeightNorm, convert_radius, lengths, weight_change
from analysis.spaces import adapted_layers

SPACES = ("full", "lora", "tangent")


def merged(model) -> list[torch.Tensor]:
    return [(layer.weight + layer.scaling * layer.B @ layer.A).detach().clone() for layer in adapted_layers(model)]


def by_hand(before: list[torch.Tensor], after: list[torch.Tensor], *, eta: float) -> dict[str, float]:
    change = [b - a for a, b in zip(before, after, strict=True)]
    squares = {"absolute": 0.0, "adaptive": 0.0, "filter": 0.0}
    for w, d in zip(before, change, strict=True):
        squares["absolute"] += float((d**2).sum())
        squares["adaptive"] += float(((d / (w.abs() + eta)) ** 2).sum())
        squares["filter"] += sum(float((d[i] ** 2).sum() / (w[i] ** 2).sum()) for i in range(len(w)))
    return {name: value**0.5 for name, value in squares.items()}


@pytest.mark.parametrize("name", SPACES)
def test_lengths_are_those_of_the_merged_weights_change(tiny_lora, name) -> None:
    model = tiny_lora()
    with parameter_space(model, name) as space:
        direction = vectors.scale(space.random_direction(seed=3, stream="test"), 0.2)
        before = merged(model)
        with space.displaced(direction):
            after = merged(model)
        expected = by_hand(before, after, eta=0.05)
        found = lengths(space, direction, eta=0.05)
        for norm in NORMS:
            assert getattr(found, norm) == pytest.approx(expected[norm], rel=1e-9), norm
        assert found.coordinates == pytest.approx(vectors.norm(direction), rel=1e-12)
        for change, old, new in zip(weight_change(space, direction), before, after, strict=True):
            torch.testing.assert_close(change, new - old, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SPACES)
def test_a_converted_radius_comes_back(tiny_lora, name, norm) -> None:
    with parameter_space(tiny_lora(), name) as space:
        direction = space.random_direction(seed=0, stream="test")
        found = convert_radius(space, direction, 0.3, norm=WeightNorm(norm))
        assert getattr(found, norm) == pytest.approx(0.3, rel=1e-9)
        for other in NORMS:
            back = convert_radius(space, direction, getattr(found, other), norm=WeightNorm(other))
            assert getattr(back, norm) == pytest.approx(0.3, rel=1e-6)
            assert back.coordinates == pytest.approx(found.coordinates, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_ascent_direction_is_the_steepest_of_the_full_space(tiny_lora, norm) -> None:
    measure = WeightNorm(norm, eta=0.05)
    with parameter_space(tiny_lora(), "full") as space:
        gradient = space.random_direction(seed=5, stream="gradient")

        def rise(direction: list[torch.Tensor]) -> float:
            return vectors.dot(gradient, direction) * measure.scale_to_radius(space, direction, 1.0)

        steepest = measure.ascent_direction(space, gradient)
        best = rise(steepest)
        # The dual norm ||T G||, written down by hand.
        pairs = zip(gradient, merged(space.model), strict=True)
        expected = sum(float((g * measure.scale(w)).square().sum()) for g, w in pairs)
        assert best == pytest.approx(expected**0.5, rel=1e-9)
        for seed in range(50):
            other = space.random_direction(seed=seed, stream="other")
            assert rise(vectors.axpy(0.02, other, steepest)) < best


@pytest.mark.parametrize("norm", NORMS)
def test_the_ascent_direction_of_a_subspace_stays_in_it_and_rises(tiny_lora, norm) -> None:
    with parameter_space(tiny_lora(), "tangent") as space:
        gradient = space.random_direction(seed=5, stream="gradient")
        direction = WeightNorm(norm).ascent_direction(space, gradient)
        assert vectors.norm(vectors.axpy(-1.0, space.project(direction), direction)) < 1e-10
        assert vectors.dot(gradient, direction) > 0.0
        draw = WeightNorm(norm).random_direction(space, seed=1, stream="test")
        assert vectors.norm(vectors.axpy(-1.0, space.project(draw), draw)) < 1e-10


def test_rows_of_an_embedding_are_tokens_and_a_norm_weight_is_one_row(tiny_llama) -> None:
    model = tiny_llama(tied=True)
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    with FullSpace(model, parameters=names) as space:
        embedding, scale = (tensor.detach() for tensor in space.tensors)
        move = [torch.zeros_like(embedding), torch.zeros_like(scale)]
        move[0][3] = 2.0 * embedding[3]
        assert lengths(space, move).filter == pytest.approx(2.0, rel=1e-12)
        move[1][0] = scale.norm()
        assert lengths(space, move).filter == pytest.approx(5.0**0.5, rel=1e-12)


def test_a_row_of_zeros_has_the_length_eta() -> None:
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert WeightNorm("filter", eta=0.1).scale(weight).flatten().tolist() == pytest.approx([0.1, 5.0])
    assert WeightNorm("filter").scale(torch.tensor(-2.0)).item() == 2.0


def test_impossible_norms_and_directions_are_refused(quadratic) -> None:
    with pytest.raises(SettingsError, match="did you mean 'adaptive'"):
        WeightNorm("adaptve")
    with pytest.raises(SettingsError, match="eta is 0"):
        WeightNorm("adaptive", eta=0.0)
    _, space = quadratic(np.eye(2), np.ones(2))
    for norm in NORMS:
        with pytest.raises(DirectionError, match="zero in the full space"):
            convert_radius(space, [torch.zeros(2, dtype=torch.float64)], 1.0, norm=WeightNorm(norm))
    with pytest.raises(SettingsError, match="positive distance"):
        convert_radius(space, [torch.ones(2, dtype=torch.float64)], 0.0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_layer_that_is_no_plain_lora_is_measured_by_its_effective_matrix(tiny_lora, norm) -> None:
    model = tiny_lora(config={"use_dora": True}, targets=("v_proj",))
    with parameter_space(model, "full") as space:
        (weight,) = space.merged_weights()
        direction = space.random_direction(seed=0, stream="test")
        scale = WeightNorm(norm, eta=0.05).scale(weight)
        expected = float((direction[0] / scale).norm())
        assert WeightNorm(norm, eta=0.05).length(space, direction) == pytest.approx(expected, rel=1e-9)
    merged = model.merge_and_unload()
    dense = next(p for name, p in merged.named_parameters() if "v_proj" in name)
    torch.testing.assert_close(weight, dense.detach(), rtol=1e-9, atol=1e-12)
