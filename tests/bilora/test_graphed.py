from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from peft import HiraConfig
from torch import nn

from bilora import attach, build_optimizer
from bilora.flat import FlatAdamW, in_one_piece
from bilora.graphed import GraphedBackward
from bilora.methods import METHODS
from bilora.recording import GraphError
from tests.tiny import as_batch, examples, lora_config, moved_off_zero, tiny_llama

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


def test_without_cuda_passes_run_as_they_would() -> None:
    model, _ = attach(tiny_llama(), lora_config())
    moved_off_zero(model)
    batches = [as_batch(examples(count)) for count in (4, 6)]
    for batch in batches:
        model(**batch).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    graphed = GraphedBackward(model)
    losses = [graphed(batch) for batch in batches]
    assert all(not loss.requires_grad for loss in losses)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(expected)
    for name, gradient in expected.items():
        assert torch.equal(model.get_parameter(name).grad, gradient)


def test_a_recording_belongs_to_all_that_a_pass_depends_on() -> None:
    model, _ = attach(tiny_llama(), lora_config(), method="bilora")
    graphed = GraphedBackward(model)
    states = [graphed._state()]

    def changed() -> bool:
        states.append(graphed._state())
        return states[-1][0] != states[-2][0]

    assert not changed()
    layer = next(m for m in model.modules() if hasattr(m, "lora_A"))
    layer.scale_layer(3.0)
    assert changed()
    layer.scaling = dict.fromkeys(layer.scaling, 2.0)
    assert changed()
    layer.scale_layer(3.0)
    assert changed()
    layer.lora_A["default"].weight.data = layer.lora_A["default"].weight.data.clone()
    assert changed()
    model.eval()
    assert changed()
    model.base_model.set_adapter(["default"])
    assert changed()
    assert len(states[-1][1]) < len(states[0][1])
    model.merge_adapter()
    assert changed()
    with torch.autocast("cuda", dtype=torch.float16) if torch.cuda.is_available() else _autocast_looks_on():
        assert changed()
    assert changed()
    model.unmerge_adapter()
    assert changed()
    model.add_adapter("late", lora_config())
    model.base_model.set_adapter(["late"])
    assert changed()
    assert states[-1][1]


def test_an_auxiliary_beside_hira_is_part_of_the_state() -> None:
    config = HiraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model, method = attach(tiny_llama(), config, method="bilora")
    graphed = GraphedBackward(model)
    before = graphed._state()[0]
    with method.evaluation():
        assert graphed._state()[0] != before
    assert graphed._state()[0] == before


def test_plain_and_compiled_models_run_too() -> None:
    model = tiny_llama().train()
    assert torch.isfinite(GraphedBackward(model)(as_batch(examples(2))))
    compiled: Any = torch.compile(model, backend="eager")
    assert GraphedBackward(compiled)._state()[1]


@contextmanager
def _autocast_looks_on() -> Iterator[None]:
    own = torch.is_autocast_enabled
    torch.is_autocast_enabled = lambda *_: True  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.is_autocast_enabled = own


def test_methods_whose_passes_change_are_not_replayable() -> None:
    replayable = {name for name, cls in METHODS.items() if cls.replayable}
    assert {"lora", "lora-sam", "bilora"} <= replayable
    # What draws outputs or examples anew in every pass would be frozen by a recording.
    assert replayable.isdisjoint({"rop", "lora-obar", "lora-nbar", "flat-lora", "rwp-full", "lora-esam", "adazo-sam"})


@needs_cuda
def test_replays_equal_passes_and_see_new_weights() -> None:
    model, method = attach(tiny_llama().cuda(), lora_config(), method="bilora")
    moved_off_zero_on_device(model)
    model.train()
    batches = [{k: v.cuda() for k, v in as_batch(examples(count)).items()} for count in (4, 6, 4)]
    trained = [p for p in model.parameters() if p.requires_grad]
    graphed = GraphedBackward(model)
    for factor in (1.0, 1.5):
        with torch.no_grad():
            torch._foreach_mul_(trained, factor)
        expected = gradients(model, trained, lambda batch: model(**batch).loss.backward(), batches)
        found = gradients(model, trained, graphed, batches)
        for gradient, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)
    optimizer = build_optimizer(method, lr=1e-3, fused=True)
    with no_synchronisation():
        method.gradients(lambda: graphed(batches[0]))
        optimizer.step()


@needs_cuda
def test_a_model_in_another_state_is_not_met_with_the_old_pass() -> None:
    torch.manual_seed(0)
    model, method = attach(tiny_llama().cuda(), lora_config(lora_dropout=0.5), method="bilora")
    moved_off_zero_on_device(model)
    batch = {k: v.cuda() for k, v in as_batch(examples(4)).items()}
    primary = method.weights.parameters
    found, expected = [], []
    for run, losses in ((GraphedBackward(model), found), (eager(model), expected)):
        torch.manual_seed(1)
        for evaluating in (False, False, True, True, False):
            model.train(not evaluating)
            with method.evaluation() if evaluating else nullcontext():
                model.zero_grad()
                losses.append((float(run(batch)), primary[1].grad.clone()))
    for (loss, gradient), (wanted, wanted_gradient) in zip(found, expected, strict=True):
        # The passes that are thrown away draw no dropout from the generator.
        assert loss == pytest.approx(wanted, rel=1e-6)
        torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-5, atol=1e-7)
    assert found[0] != found[1]


@needs_cuda
def test_weights_that_move_are_followed() -> None:
    model, _ = attach(tiny_llama().cuda(), lora_config())
    moved_off_zero_on_device(model)
    batch = {k: v.cuda() for k, v in as_batch(examples(4)).items()}
    graphed = GraphedBackward(model.train())
    for _ in range(3):
        before = float(graphed(batch))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data * 1.5
    torch.cuda.empty_cache()
    assert float(graphed(batch)) == pytest.approx(float(model(**batch).loss.detach()), rel=1e-5)
    assert float(graphed(batch)) != pytest.approx(before, rel=1e-3)
    model.cpu()
    on_cpu = {name: value.cpu() for name, value in batch.items()}
    assert float(graphed(on_cpu)) == pytest.approx(float(model(**on_cpu).loss.detach()), rel=1e-5)


@needs_cuda
def test_gradients_lie_as_the_parameters_do() -> None:
    model, method = attach(tiny_llama().cuda(), lora_config(), method="bilora")
    optimizer = build_optimizer(method, lr=1e-3, optimizer_class=FlatAdamW)
    batch = {k: v.cuda() for k, v in as_batch(examples(4)).items()}
    graphed = GraphedBackward(model.train())
    for _ in range(2):
        method.gradients(lambda: graphed(batch))
        assert all(in_one_piece([p.grad for p in group["params"]]) is not None for group in optimizer.param_groups)
        optimizer.step()
        optimizer.zero_grad()


@needs_cuda
def test_a_pass_that_waits_for_the_device_is_refused() -> None:
    model, _ = attach(tiny_llama().cuda(), lora_config())
    batch = {k: v.cuda() for k, v in as_batch(examples(4)).items()}

    def forward_backward(inputs: Any) -> Any:
        loss = model(**inputs).loss * float(inputs["input_ids"].sum())
        loss.backward()
        return loss.detach()

    graphed = GraphedBackward(model.train(), forward_backward=forward_backward)
    with pytest.raises(GraphError, match="leave CUDA graphs off"):
        graphed(batch)


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Let operations raise that wait for the device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def eager(model: Any) -> Callable[[Any], Any]:
    def run(batch: Any) -> Any:
        loss = model(**batch).loss
        loss.backward()
        return loss.detach()

    return run


def moved_off_zero_on_device(model: Any) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)


def gradients(model: nn.Module, trained: list[Any], run: Callable[[Any], Any], batches: list[Any]) -> list[Any]:
    model.zero_grad()
    for batch in batches:
        run(batch)
    return [p.grad.clone() for p in trained]
