"""The routes of a Hessian product against the dense Hessian and each other, on every kind of model and space."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from analysis import (
    CrossEntropyLoss,
    FullSpace,
    HessianOperator,
    Objective,
    SecondDerivativeError,
    SettingsError,
    SpaceError,
    causal_lm_loss,
    parameter_space,
    vectors,
)

# transformers 5.23 renamed the switch.
RENAMED = hasattr(PreTrainedModel, "activation_checkpointing_enable")
SPACES = ("full", "all", "lora", "tangent", "layer:down_proj")


def relative_error(found, expected):
    return vectors.norm(vectors.axpy(-1.0, expected, found)) / vectors.norm(expected)


@pytest.mark.parametrize("name", SPACES)
def test_every_route_agrees_with_the_dense_hessian(tiny_lora, batches, dense_hessian, name, snapshot) -> None:
    model = tiny_lora().train()
    check = snapshot(model)
    with parameter_space(model, name) as space:
        model.eval()
        expected = torch.from_numpy(dense_hessian(model, batches, space))
        model.train()
        direction = space.random_direction(seed=0, stream="test")
        flat = expected @ torch.cat([block.flatten() for block in direction])
        parts = flat.split([tensor.numel() for tensor in space.tensors])
        wanted = space.project([part.view_as(tensor) for part, tensor in zip(parts, space.tensors, strict=True)])
        for route, tolerance in (("reverse", 1e-10), ("forward", 1e-10), ("difference", 1e-4)):
            found = HessianOperator(Objective(model, batches), space, route=route).matvec(direction)
            assert relative_error(found, wanted) < tolerance, route
    check()


@pytest.mark.parametrize("route", ["reverse", "forward"])
def test_a_bfloat16_model_takes_and_gives_vectors_of_the_asked_type(tiny_lora, batches, route) -> None:
    narrow, exact = tiny_lora(dtype=torch.bfloat16), tiny_lora()
    with parameter_space(narrow, "full") as space:
        operator = HessianOperator(Objective(narrow, batches), space, route=route, vector_dtype=torch.bfloat16)
        direction = operator.random_direction(seed=0, stream="test")
        found = operator.matvec(direction)
    assert {block.dtype for block in (*direction, *found)} == {torch.bfloat16}
    with parameter_space(exact, "full") as space:
        expected = HessianOperator(Objective(exact, batches), space).matvec([block.double() for block in direction])
    assert relative_error([block.double() for block in found], expected) < 0.1


@pytest.mark.parametrize("name", ["full", "lora"])
@pytest.mark.parametrize("route", ["reverse", "forward", "difference", "auto"])
def test_activation_checkpointing_changes_nothing(tiny_lora, batches, snapshot, name, route) -> None:
    """Dropout is in the model and its training flag is on: the second run of a layer must not draw either."""
    model = tiny_lora(layers=2, config={"lora_dropout": 0.5})
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
    enable = "activation_checkpointing_enable" if RENAMED else "gradient_checkpointing_enable"
    getattr(model.base_model.model, enable)()
    model.train()
    check = snapshot(model)
    runs = []
    layer = model.base_model.model.model.layers[0].mlp
    original = layer.forward
    layer.forward = lambda *inputs: runs.append(None) or original(*inputs)
    with parameter_space(model, name) as space:
        operator = HessianOperator(objective, space, route=route)
        found = operator.matvec(direction)
    assert relative_error(found, expected) < (1e-4 if route == "difference" else 1e-10)
    passes = {"difference": 2}.get(route, 1) * len(batches)
    assert len(runs) >= 2 * passes
    if route == "auto":
        choice = operator.choose()
        assert (choice.route, choice.reason) == ("forward", "activation checkpointing is on")
    check()


def test_auto_takes_reverse_and_says_how_it_was_checked(tiny_lora, batches) -> None:
    model = tiny_lora()
    with parameter_space(model, "full") as space:
        choice = HessianOperator(Objective(model, batches), space, route="auto").choose()
    assert (choice.route, choice.reason, choice.checked_against) == ("reverse", "the cheapest", "difference")
    assert choice.disagreement < 1e-3


def test_auto_does_not_check_narrow_weights(tiny_lora, batches) -> None:
    model = tiny_lora(dtype=torch.bfloat16)
    with parameter_space(model, "full") as space:
        choice = HessianOperator(Objective(model, batches), space, route="auto").choose()
    assert choice.checked_against is None
    assert choice.disagreement is None
    assert "not checked" in choice.reason


def fused_loss(model, batch):
    x = model.weight.view(1, 1, 4, 4)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x)[0].sum(), 1


def test_auto_falls_back_to_differences_and_names_what_blocks() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    with parameter_space(model, "full") as space:
        operator = HessianOperator(Objective(model, [1], loss=fused_loss), space, route="auto")
        choice = operator.choose()
        direction = space.random_direction(seed=0, stream="test")
        found = operator.matvec(direction)[0]
    assert choice.route == "difference"
    assert "aten::_scaled_dot_product_flash_attention" in choice.reason

    def plain(weight):
        x = weight.view(1, 1, 4, 4)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return nn.functional.scaled_dot_product_attention(x, x, x).sum()

    expected = torch.autograd.functional.hvp(plain, model.weight.detach(), direction[0])[1]
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=5e-3)


def test_auto_gives_up_with_every_reason_when_differences_are_impossible_too() -> None:
    model = nn.Linear(4, 4).bfloat16()
    operator = HessianOperator(Objective(model, [1], loss=fused_loss), parameter_space(model, "full"), route="auto")
    with pytest.raises(SecondDerivativeError, match=r"aten::_scaled_dot.*bfloat16, in which a small change"):
        operator.choose()


class WrongSecondDerivative(torch.autograd.Function):
    """x^2 whose gradient claims not to depend on x, as a kernel that hides its second derivative does."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0].detach() * gradient


def test_a_silently_missing_second_derivative_is_found_by_the_check() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    objective = Objective(model, [1], loss=lambda m, batch: (WrongSecondDerivative.apply(m.weight).pow(2).sum(), 1))
    with pytest.raises(SecondDerivativeError, match=r"reverse route differs from differences of gradients by"):
        HessianOperator(objective, parameter_space(model, "full"), route="auto").choose()
    with parameter_space(model, "full") as space:
        found = HessianOperator(objective, space, route="difference").matvec([torch.ones(3, 3)])[0]
    torch.testing.assert_close(found, 12 * model.weight.detach() ** 2, rtol=1e-2, atol=1e-3)


def test_flash_attention_is_refused_by_name(tiny_llama, batches) -> None:
    model = tiny_llama()
    model.config._attn_implementation = "flash_attention_2"
    for route in ("reverse", "forward"):
        operator = HessianOperator(Objective(model, batches), parameter_space(model, "full"), route=route)
        with pytest.raises(SecondDerivativeError, match=r"'flash_attention_2'; load the model with 'sdpa' or 'eager'"):
            operator.matvec(vectors.zeros_like(operator.space.tensors))


def test_reentrant_checkpointing_is_refused_by_name_on_the_forward_route() -> None:
    model = nn.Linear(3, 3)

    def loss(module, batch):
        hidden = torch.utils.checkpoint.checkpoint(torch.sin, module(torch.ones(2, 3)), use_reentrant=True)
        return module(hidden).square().sum(), 1

    with pytest.raises(SecondDerivativeError, match="no second derivative by the forward route"):
        HessianOperator(Objective(model, [1], loss=loss), parameter_space(model, "full"), route="forward").matvec(
            [torch.ones(3, 3)]
        )


def test_an_unknown_route_is_answered_with_the_nearest(tiny_lora, batches) -> None:
    model = tiny_lora()
    with pytest.raises(SettingsError, match=r"unknown route 'reversed'; did you mean 'reverse'\?"):
        HessianOperator(Objective(model, batches), parameter_space(model, "full"), route="reversed")


def test_a_weight_used_by_a_layer_and_elsewhere_has_all_its_curvature() -> None:
    """A linear layer's weight takes the short way through the layer and the ordinary one elsewhere."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    x = torch.randn(4, 3, dtype=torch.float64)

    def loss(module, batch):
        first = module[0].weight
        return (module(x).square().sum() + (first @ first).sin().sum() * module[2].weight.square().sum()), 1

    space = FullSpace(model, parameters=["0.weight", "0.bias", "2.weight", "2.bias"])

    def flat_loss(*weights):
        values = dict(zip(space.names, weights, strict=True))
        out = torch.func.functional_call(model, values, x)
        first, second = values["0.weight"], values["2.weight"]
        return out.square().sum() + (first @ first).sin().sum() * second.square().sum()

    with space:
        direction = space.random_direction(seed=0, stream="test")
        inputs = tuple(tensor.detach() for tensor in space.tensors)
        expected = torch.autograd.functional.hvp(flat_loss, inputs, tuple(direction))[1]
        for route in ("reverse", "forward"):
            found = HessianOperator(Objective(model, [1], loss=loss), space, route=route).matvec(direction)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("route", ["reverse", "forward", "difference"])
@pytest.mark.parametrize("name", ["full", "lora", "tangent"])
def test_an_error_in_the_loss_leaves_the_model_as_it_was(tiny_lora, batches, snapshot, name, route) -> None:
    model = tiny_lora().train()
    check = snapshot(model)
    forwards = {key: module.__dict__.get("forward") for key, module in model.named_modules()}
    hooks = {key: len(module._forward_hooks) for key, module in model.named_modules()}

    def loss(module, batch):
        module(batch["input_ids"])
        raise KeyError("inside")

    space = parameter_space(model, name)
    direction = space.random_direction(seed=0, stream="test")
    with pytest.raises(KeyError):
        HessianOperator(Objective(model, batches, loss=loss), space, route=route).matvec(direction)
    check()
    assert forwards == {key: module.__dict__.get("forward") for key, module in model.named_modules()}
    assert hooks == {key: len(module._forward_hooks) for key, module in model.named_modules()}
    assert all(isinstance(p, nn.Parameter) for m in model.modules() for p in m._parameters.values() if p is not None)


def test_differences_of_narrow_weights_are_refused(tiny_lora, batches) -> None:
    model = tiny_lora(dtype=torch.bfloat16)
    with parameter_space(model, "full") as space:
        operator = HessianOperator(Objective(model, batches), space, route="difference")
        with pytest.raises(SpaceError, match=r"bfloat16, in which a small change .* dtype=torch.float32"):
            operator.matvec(space.random_direction(seed=0, stream="test"))
        zero = operator.matvec(vectors.zeros_like(space.tensors))
    assert vectors.norm(zero) == 0.0


class Smoothed(CrossEntropyLoss):
    """A cross-entropy with a penalty, which the logits' own closed form knows nothing of."""

    def __call__(self, model, batch):
        total, count = super().__call__(model, batch)
        return total + 0.1 * self.logits(model, batch).values.square().sum(), count


def test_what_a_subclass_adds_to_the_cross_entropy_is_differentiated_too(tiny_llama, batches) -> None:
    model = tiny_llama()
    objective = Objective(model, batches, loss=Smoothed(causal_lm_loss.logits))
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = HessianOperator(objective, space).matvec(direction)
        found = HessianOperator(objective, space, route="forward").matvec(direction)
    assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize("route", ["reverse", "forward"])
def test_a_linear_layer_may_be_called_by_name_and_with_no_rows(route) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4).double()
    x = torch.randn(5, 3, dtype=torch.float64)

    def loss(module, batch):
        return (module(input=x).sin().sum() + module(x[:0]).sum()), 1

    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        (found,) = HessianOperator(Objective(model, [1], loss=loss), space, route=route).matvec(direction)
    moved = x @ direction[0].mT
    expected = -(torch.sin(x @ model.weight.mT + model.bias) * moved).mT @ x
    torch.testing.assert_close(found, expected.detach())
