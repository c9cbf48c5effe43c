from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from peft import DeloraConfig, HiraConfig, PeftConfig
from torch import Tensor, nn

from bilora import attach, build_optimizer
from bilora.effective import base_weight, effective_change
from bilora.methods import FlatLora, MethodError, RwpFull, create_method
from bilora.methods.merged_noise import MergedNoise
from tests.driving import in_double, present, step_gradients, train
from tests.tiny import TinyMlp, as_batch, attached, examples, lora_config, moved_off_zero, primary_state, tiny_llama

BATCH = as_batch(examples())
DELORA_TARGETS = ["q_proj", "down_proj"]


def noisy(name: str, **options: Any) -> tuple[Any, MergedNoise]:
    model, method = attached(name, **options)
    moved_off_zero(model)
    assert isinstance(method, MergedNoise)
    return model, method


def drawn(method: MergedNoise) -> list[Tensor]:
    """W + eps of every layer during a step, read off the forward pass of the base layers."""
    return [layer.module(torch.eye(layer.matrix.shape[1], dtype=layer.matrix.dtype)).T for layer in method.noise.layers]


def merged(model: Any, method: MergedNoise) -> list[Tensor]:
    layers = [model.get_submodule(layer.name) for layer in method.noise.layers]
    return [base_weight(layer) + effective_change(layer, "default") for layer in layers]


@pytest.mark.parametrize("options", [{}, {"init_lora_weights": "pissa"}])
def test_deviations_are_relative_to_the_rows_of_the_merged_weights(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    model, method = attach(tiny_llama(), lora_config(**options), method="flat-lora", schedule="constant", sigma=0.3)
    moved_off_zero(model)
    assert isinstance(method, FlatLora)
    assert len(method.noise.layers) == 14
    for found, W in zip(method.deviations(), merged(model, method), strict=True):
        torch.testing.assert_close(found, 0.3 * torch.linalg.vector_norm(W, dim=1) / math.sqrt(W.shape[1]))


def delora_config() -> DeloraConfig:
    config = DeloraConfig(r=4, target_modules=DELORA_TARGETS)
    config.delora_lambda = 2
    return config


@pytest.mark.parametrize("config", [HiraConfig(r=4, target_modules=DELORA_TARGETS), delora_config()])
def test_other_variants_are_measured_by_their_own_change(config: PeftConfig) -> None:
    torch.manual_seed(3)
    model, method = attach(tiny_llama(), config, method="flat-lora", schedule="constant", sigma=0.3)
    with torch.no_grad():
        for parameter in method.weights.parameters:  # type: ignore[attr-defined]
            parameter.add_(0.1)
    assert isinstance(method, FlatLora)
    for found, W in zip(method.deviations(), merged(model, method), strict=True):
        torch.testing.assert_close(found, 0.3 * torch.linalg.vector_norm(W, dim=1) / math.sqrt(W.shape[1]))


def test_under_dora_noise_is_relative_to_the_row_that_the_magnitude_makes() -> None:
    torch.manual_seed(3)
    model, method = attach(tiny_llama(), lora_config(use_dora=True), method="flat-lora", schedule="constant", sigma=0.3)
    moved_off_zero(model)
    assert isinstance(method, FlatLora)
    frozen = method.noise.layers[0]
    layer = model.get_submodule(frozen.name)
    with torch.no_grad():
        layer.lora_magnitude_vector.default.weight.mul_(1.5)
    eye = torch.eye(frozen.matrix.shape[1])
    clean = layer(eye)
    with method.noise.added(method.deviations(), 1):
        effective = (layer(eye) - clean).T
        raw = frozen.module(eye).T - frozen.matrix
    magnitude = layer.lora_magnitude_vector.default.weight
    expected = raw / method.deviations()[0][:, None] * (0.3 * magnitude / math.sqrt(eye.shape[0]))[:, None]
    torch.testing.assert_close(effective, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["flat-lora", "rwp-full"])
def test_a_step_is_the_gradient_at_the_noisy_weights_and_logs_their_distance(name: str) -> None:
    """Against autograd on a copy of the model in which W + eps is written out, in float64."""
    model, method = in_double(name)
    assert isinstance(method, MergedNoise)
    build_optimizer(method, lr=1e-2, total_steps=1)
    matrices: list[Tensor] = []
    before = [layer.matrix.clone() for layer in method.noise.layers]
    step_gradients(method, model, BATCH, seen=lambda _: matrices.extend(m.detach() for m in drawn(method)))
    noisy_model = copy.deepcopy(model)
    with torch.no_grad():
        for layer, matrix in zip(method.noise.layers, matrices, strict=True):
            noisy_model.get_submodule(layer.name).base_layer.weight.copy_(matrix)
    noisy_model.zero_grad()
    noisy_model(**BATCH).loss.backward()
    for mine, expected in zip(present(model), present(noisy_model), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-10)
    distance = torch.stack([(m - W).square().sum() for m, W in zip(matrices, before, strict=True)]).sum().sqrt()
    assert distance > 0.01
    assert method.means.pop()["perturbation_norm"] == pytest.approx(distance.item(), rel=1e-6)


def test_base_weights_are_never_written_and_evaluation_sees_no_noise() -> None:
    model, method = noisy("flat-lora", sigma=0.5)
    state = [(layer.module.weight._version, layer.matrix.clone()) for layer in method.noise.layers]
    with torch.no_grad():
        clean = model(**BATCH).loss
    train(method, model, steps=3, lr=0.0)
    for layer, (version, matrix) in zip(method.noise.layers, state, strict=True):
        assert layer.module.weight._version == version
        assert torch.equal(layer.matrix, matrix)
    with torch.no_grad():
        assert torch.equal(model(**BATCH).loss, clean)

    def fails() -> Tensor:
        assert not torch.equal(model(**BATCH).loss, clean)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        method.gradients(fails)
    with torch.no_grad():
        assert torch.equal(model(**BATCH).loss, clean)


def test_sigma_grows_as_a_cosine_and_ends_at_its_value() -> None:
    model, method = noisy("flat-lora", sigma=0.2)
    assert isinstance(method, FlatLora)
    optimizer = build_optimizer(method, lr=1e-2, total_steps=4)
    found = []
    for _ in range(5):  # one step more than planned
        found.append(method.sigma)
        step_gradients(method, model, BATCH)
        optimizer.step()
    expected = [0.2 * 0.5 * (1 - math.cos(math.pi * t / 4)) for t in (1, 2, 3, 4, 4)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[3] == pytest.approx(0.2, rel=1e-12)


def test_the_schedule_needs_the_number_of_steps() -> None:
    model, method = noisy("flat-lora")
    build_optimizer(method, lr=1e-2)
    with pytest.raises(MethodError, match=r"total_steps=N to bilora\.build_optimizer, or choose a constant schedule"):
        step_gradients(method, model, BATCH)
    model, method = noisy("flat-lora", schedule="constant")
    build_optimizer(method, lr=1e-2)
    step_gradients(method, model, BATCH)


def test_rwp_full_is_absolute_or_flat_lora_with_a_constant_sigma() -> None:
    states = []
    for name, options in (("flat-lora", {"sigma": 0.1, "schedule": "constant"}), ("rwp-full", {"rho": 0.1})):
        model, method = noisy(name, **options)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    _, method = noisy("rwp-full", rho=0.1, mode="absolute")
    assert isinstance(method, RwpFull)
    for deviation, layer in zip(method.deviations(), method.noise.layers, strict=True):
        assert torch.equal(deviation, torch.full((len(layer.matrix),), 0.1))


@pytest.mark.parametrize(("name", "option"), [("flat-lora", "sigma"), ("rwp-full", "rho")])
def test_without_noise_it_is_lora(name: str, option: str) -> None:
    states = []
    for each, options in (("lora", {}), (name, {option: 0.0})):
        model, method = attached(each, dropout=0.2, **options)
        torch.manual_seed(11)
        train(method, model, steps=3)
        states.append(primary_state(model))
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-4, atol=1e-6)


def test_noise_follows_the_seed_of_the_run_and_a_checkpoint_brings_it_back() -> None:
    def epsilons(seed: int, state: dict[str, Tensor] | None = None) -> list[Tensor]:
        model = TinyMlp()
        torch.manual_seed(seed)
        config = lora_config(target_modules=["first", "second"], task_type=None)
        _, method = attach(model, config, method="rwp-full")
        assert isinstance(method, MergedNoise)
        if state is not None:
            method.load_state_dict(state)
        with method.noise.added([torch.ones(12), torch.ones(4)], *method.draw_key):
            found = [m.detach() for m in drawn(method)]
        states.append(method.state_dict())
        return found

    states: list[dict[str, Tensor]] = []
    first, again, other = epsilons(1), epsilons(1), epsilons(2)
    resumed = epsilons(2, states[0])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, resumed, strict=True))
    assert not any(torch.allclose(a, b, atol=0.1) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", ["flat-lora", "rwp-full"])
def test_a_quantised_base_is_refused_by_name_with_the_reason(name: str) -> None:
    model = tiny_llama()
    model.is_quantized = True
    with pytest.raises(MethodError, match=f"method '{name}' does not run on a quantised base: .*dequantised"):
        create_method(name).attach(model, lora_config())


def test_layers_that_are_not_linear_are_refused() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Conv1d(4, 4, 1)

    with pytest.raises(ValueError, match="words is a Conv1d"):
        create_method("flat-lora").attach(Words(), lora_config(target_modules=["words"], task_type=None))


def test_memory_is_row_numbers_and_one_matrix() -> None:
    _, method = noisy("flat-lora")
    largest = 24 * 16 * 4
    rows = sum(layer.matrix.shape[0] for layer in method.noise.layers)
    assert method.extra_memory() == 8 * rows + largest


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("flat-lora", {"rho": 0.1}, "has no option 'rho'"),
        ("flat-lora", {"sigma": -0.1}, "option sigma is -0.1; expected a finite number >= 0"),
        ("flat-lora", {"schedule": "linear"}, "option schedule is 'linear'; expected one of cosine, constant"),
        ("rwp-full", {"mode": "relative"}, "option mode is 'relative'; expected one of absolute, filter-relative"),
    ],
)
def test_bad_options_are_answered(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method(name, **options)
    assert message in str(error.value)
