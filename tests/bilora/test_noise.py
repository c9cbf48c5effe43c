from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from bilora.fused import fuse_adapters
from bilora.noise import FrozenLinear, WeightNoise, frozen_linears

KEY = (11, 4)


class Chain(nn.Module):
    """Linear layers with a nonlinearity between them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def adapted(*, conv: bool = False, dtype: torch.dtype = torch.float32) -> PeftModel:
    torch.manual_seed(0)
    layers = (Conv1D(12, 8), Conv1D(6, 12)) if conv else (nn.Linear(8, 12), nn.Linear(12, 6, bias=False))
    targets = ["layers.0", "layers.1"]
    model = get_peft_model(
        Chain(*layers).to(dtype), LoraConfig(r=3, target_modules=targets, init_lora_weights=False, fan_in_fan_out=conv)
    )
    assert isinstance(model, PeftModel)
    return model


def noise_for(model: nn.Module) -> tuple[WeightNoise, list[Tensor]]:
    layers = frozen_linears(model)
    deviations = [torch.linspace(0.1, 0.6, len(layer.matrix)) for layer in layers]
    return WeightNoise(layers), deviations


def dense(noise: WeightNoise) -> list[Tensor]:
    """W + eps of every layer, read off its forward pass with unit vectors for inputs."""
    matrices = []
    for layer in noise.layers:
        bias = layer.module.bias
        eye = torch.eye(layer.matrix.shape[1], dtype=layer.matrix.dtype)
        matrices.append((layer.module(eye) - (0 if bias is None else bias)).T.detach())
    return matrices


def inputs(*, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2), dtype=dtype)
    return x.requires_grad_()


def gradients(model: nn.Module, x: Tensor, run: Any = None) -> tuple[Tensor, list[Tensor]]:
    y = (run or model)(x)
    over = [x, *[p for p in model.parameters() if p.requires_grad]]
    return y.detach(), list(torch.autograd.grad((y * y).sum(), over))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("conv", [False, True])
def test_equals_a_dense_model_at_the_perturbed_weights(conv: bool, fused: bool) -> None:
    """Forward, gradient to the input and gradients to the factors, against autograd on W + eps written out."""
    model = adapted(conv=conv).double()
    if fused:
        fuse_adapters(model)
    noise, deviations = noise_for(model)
    with noise.added(deviations, *KEY):
        found, found_gradients = gradients(model, inputs(dtype=torch.float64))
        matrices = dense(noise)
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for layer, matrix in zip(frozen_linears(reference), matrices, strict=True):
            layer.module.weight.copy_(matrix.T if conv else matrix)
    expected, expected_gradients = gradients(reference, inputs(dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for mine, other in zip(found_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_weights_are_never_written_and_the_forward_comes_back() -> None:
    model = adapted()
    noise, deviations = noise_for(model)
    before = [(layer.module.weight._version, layer.matrix.clone()) for layer in noise.layers]
    clean = model(inputs()).detach()
    stream = torch.get_rng_state()
    with noise.added(deviations, *KEY):
        noisy, _ = gradients(model, inputs())
        with pytest.raises(KeyError), noise.added(deviations, *KEY):
            raise KeyError
    assert not torch.allclose(noisy, clean, atol=1e-2)
    assert torch.equal(model(inputs()), clean)
    assert torch.equal(torch.get_rng_state(), stream)
    for layer, (version, matrix) in zip(noise.layers, before, strict=True):
        assert layer.module.weight._version == version
        assert torch.equal(layer.matrix, matrix)
        assert "forward" not in layer.module.__dict__


def test_a_forward_that_someone_else_had_put_there_comes_back() -> None:
    layer = nn.Linear(3, 2)
    forward = layer.forward
    layer.forward = forward  # as libraries that move inputs between devices do
    with WeightNoise([FrozenLinear("layer", layer)]).added([torch.ones(2)], *KEY):
        assert layer.forward is not forward
    assert layer.__dict__["forward"] is forward


def test_noise_belongs_to_step_and_layer_and_to_nothing_else() -> None:
    """One noise for all micro-batches and processes, another for every step, seed and layer."""
    torch.manual_seed(0)
    layers = [FrozenLinear(str(i), nn.Linear(6, 6, bias=False)) for i in range(2)]
    noise, ones = WeightNoise(layers), [torch.ones(6), torch.ones(6)]

    def epsilons(*key: int) -> list[Tensor]:
        torch.manual_seed(sum(key))  # what else the process draws must not matter
        with noise.added(ones, *key):
            return [W - layer.matrix for W, layer in zip(dense(noise), layers, strict=True)]

    first = epsilons(11, 4)
    with WeightNoise(layers).added(ones, 11, 4):
        second_layer = layers[1].module(torch.eye(6)).T - layers[1].matrix
        assert torch.equal(second_layer, first[1])  # also when the layers run in another order
    others = [*epsilons(11, 5), *epsilons(12, 4), first[1]]
    assert all((first[0] - other).abs().max() > 0.1 for other in others)


def test_noise_is_gaussian_with_the_deviation_of_its_row() -> None:
    layer = nn.Linear(4000, 4, bias=False)
    deviations = torch.tensor([0.0, 0.1, 1.0, 3.0])
    noise = WeightNoise([FrozenLinear("layer", layer)])
    with noise.added([deviations], *KEY):
        epsilon = layer(torch.eye(4000)).T.detach() - layer.weight.detach()
    assert torch.equal(epsilon[0], torch.zeros(4000))
    standard = epsilon[1:] / deviations[1:, None]
    # Standard errors over 4000 normals: mean 0.016, deviation 0.011, fourth moment 0.155.
    assert standard.mean(dim=1).abs().max() < 0.07
    assert (standard.std(dim=1) - 1).abs().max() < 0.05
    assert (standard.pow(4).mean(dim=1) - 3).abs().max() < 0.7
    assert torch.corrcoef(standard).triu(1).abs().max() < 0.07


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_is_that_of_what_was_drawn(dtype: torch.dtype) -> None:
    model = adapted(dtype=dtype)
    noise, deviations = noise_for(model)
    # On zero weights the sum is not rounded, so that eps itself can be read off.
    for layer in noise.layers:
        nn.init.zeros_(layer.module.weight)
    with noise.added(deviations, *KEY):
        for _ in range(2):  # micro-batches see one noise, which counts once
            gradients(model, inputs(dtype=dtype))
        epsilons = dense(noise)
    squares = [epsilon.double().square().sum() for epsilon in epsilons]
    assert noise.norm().item() == pytest.approx(torch.stack(squares).sum().sqrt().item(), rel=1e-3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_pass_draws_the_same_noise_again(reentrant: bool) -> None:
    model = adapted()
    noise, deviations = noise_for(model)
    with noise.added(deviations, *KEY):
        plain = gradients(model, inputs())
        norm = noise.norm()

        def run(x: Tensor) -> Tensor:
            y = checkpoint(model, x, use_reentrant=reentrant)
            assert isinstance(y, Tensor)
            return y

        if reentrant:  # does not know autograd.grad
            x = inputs()
            y = run(x)
            (y * y).sum().backward()
            again = y.detach(), [x.grad, *[p.grad for p in model.parameters() if p.requires_grad]]
        else:
            again = gradients(model, inputs(), run)
        assert torch.equal(noise.norm(), norm)
    assert torch.equal(plain[0], again[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1], again[1], strict=True))


def test_under_bf16_autocast_it_is_the_dense_layer_under_autocast() -> None:
    model = adapted()
    noise, deviations = noise_for(model)
    with noise.added(deviations, *KEY):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, found_gradients = gradients(model, inputs())
        matrices = dense(noise)
    with torch.no_grad():
        for layer, matrix in zip(noise.layers, matrices, strict=True):
            layer.module.weight.copy_(matrix)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, expected_gradients = gradients(model, inputs())
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    for mine, other in zip(found_gradients, expected_gradients, strict=True):
        assert mine.dtype == other.dtype == torch.float32
        torch.testing.assert_close(mine, other, rtol=0.02, atol=0.02)


def test_a_bias_that_is_trained_gets_its_gradient() -> None:
    layer = nn.Linear(8, 3)
    layer.weight.requires_grad_(False)
    x = inputs().detach()
    with WeightNoise([FrozenLinear("layer", layer)]).added([torch.ones(3)], *KEY):
        y = layer(x)
        (gradient,) = torch.autograd.grad((y * y).sum(), layer.bias)
    torch.testing.assert_close(gradient, 2 * y.detach().sum(dim=(0, 1)))


def test_layers_without_a_plain_product_are_refused_by_name() -> None:
    class Other(nn.Linear):
        pass

    for layer in (Other(4, 4), nn.Conv1d(4, 4, 1)):
        model = get_peft_model(Chain(layer), LoraConfig(r=2, target_modules=["layers.0"]))
        with pytest.raises(ValueError, match=rf"layers\.0 is a {type(layer).__name__}; .* choose target_modules"):
            frozen_linears(model)
