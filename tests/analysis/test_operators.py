from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from analysis import FullSpace, HessianOperator, Objective, SecondDerivativeError, parameter_space, vectors
from analysis.spaces import adapted_layers

SPACES = ("full", "lora", "tangent")


def split(batches):
    """Return every example as a batch of its own."""
    return [
        {key: value[i : i + 1] for key, value in batch.items()}
        for batch in batches
        for i in range(len(batch["input_ids"]))
    ]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("attention", "tolerance"), [("sdpa", 1e-10), ("eager", 1e-6)])
def test_products_agree_with_the_dense_hessian(
    tiny_lora, batches, dense_hessian, columns, name, attention, tolerance
) -> None:
    """Eager attention takes its softmax in float32 whatever the model's type, hence the two tolerances."""
    model = tiny_lora(attention=attention).eval()
    with parameter_space(model, name) as space:
        found = columns(HessianOperator(Objective(model, batches), space).matvec, space)
        expected = dense_hessian(model, batches, space)
        if name == "tangent":
            projector = columns(space.project, space)
            expected = projector @ expected @ projector
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", ["full", "lora"])
def test_products_agree_with_differences_of_gradients(tiny_lora, batches, name) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        product = HessianOperator(objective, space).matvec(direction)
        step = 1e-5
        ends = []
        for signed in (step, -step):
            with space.displaced(direction, signed):
                ends.append(objective.gradient(space.tensors))
        difference = vectors.scale(vectors.axpy(-1.0, ends[1], ends[0]), 0.5 / step)
    error = vectors.norm(vectors.axpy(-1.0, product, difference))
    assert error < 1e-7 * vectors.norm(product)


@pytest.mark.parametrize("name", SPACES)
def test_splitting_batches_leaves_the_product_unchanged(tiny_lora, batches, name) -> None:
    model = tiny_lora()
    products = []
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        products = [
            HessianOperator(Objective(model, parts), space).matvec(direction) for parts in (batches, split(batches))
        ]
    assert vectors.norm(vectors.axpy(-1.0, *products)) < 1e-12 * vectors.norm(products[0])


def test_rescaling_the_factors_changes_no_curvature_but_that_of_the_raw_factors(tiny_lora, batches) -> None:
    largest = {name: [] for name in (*SPACES, "raw")}
    for factor in (1.0, 4.0):
        model = tiny_lora(targets=["q_proj", "v_proj"])
        with torch.no_grad():
            for layer in adapted_layers(model):
                layer.A.mul_(factor)
                layer.B.div_(factor)
        spaces = {name: parameter_space(model, name) for name in SPACES}
        spaces["raw"] = FullSpace(model, parameters=[n for n, _ in model.named_parameters() if "lora_" in n])
        for name, space in spaces.items():
            with space:
                operator = HessianOperator(Objective(model, batches), space)
                sizes = [tensor.numel() for tensor in space.tensors]
                dense = np.stack(
                    [
                        np.concatenate([b.flatten().numpy() for b in operator.matvec(unit_blocks(unit, space, sizes))])
                        for unit in torch.eye(sum(sizes), dtype=torch.float64)
                    ]
                )
                largest[name].append(np.linalg.eigvalsh(dense)[-1])
    for name in SPACES:
        assert largest[name][1] == pytest.approx(largest[name][0], rel=1e-8), name
    assert abs(largest["raw"][1] - largest["raw"][0]) > 0.5 * largest["raw"][0]


def unit_blocks(flat, space, sizes):
    """Return a flat vector as blocks of a space."""
    return [part.view(t.shape) for part, t in zip(flat.split(sizes), space.tensors, strict=True)]


@pytest.mark.parametrize("name", SPACES)
def test_kept_graphs_give_the_same_products_and_stay_within_the_budget(tiny_lora, batches, name) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        direction = space.random_direction(seed=0, stream="test")
        rebuilt = HessianOperator(objective, space, graph_budget_bytes=0)
        kept = HessianOperator(objective, space)
        for _ in range(3):
            expected, found = rebuilt.matvec(direction), kept.matvec(direction)
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
        assert rebuilt.kept_bytes == 0
        whole = kept.kept_bytes
        partial = HessianOperator(objective, space, graph_budget_bytes=whole - 1)
        partial.matvec(direction)
        assert 0 < partial.kept_bytes < whole
        assert (rebuilt.products, kept.products, partial.products) == (3, 3, 1)
        kept.release()
        assert kept.kept_bytes == 0


def test_a_kept_graph_is_not_used_after_a_weight_was_written(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        operator = HessianOperator(objective, space)
        before = operator.matvec(direction)
        with space.displaced(direction, 0.1):
            found = operator.matvec(direction)
            expected = HessianOperator(objective, space).matvec(direction)
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
        assert vectors.norm(vectors.axpy(-1.0, before, found)) > 1e-3 * vectors.norm(before)
        layer = space.layers[0]
        with torch.no_grad():
            layer.B.mul_(2.0)
        expected = HessianOperator(objective, space).matvec(direction)
        assert all(torch.equal(one, other) for one, other in zip(expected, operator.matvec(direction), strict=True))


def test_a_kept_graph_is_not_used_after_a_fused_optimizer_wrote_without_counting(tiny_lora, batches) -> None:
    model = tiny_lora()
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        operator = HessianOperator(Objective(model, batches), space)
        before = operator.matvec(direction)
        frozen = next(p for p in model.parameters() if not p.requires_grad and p.dim() == 2)
        optimizer = torch.optim.AdamW([frozen], lr=0.1, fused=True)
        frozen.grad = torch.ones_like(frozen)
        optimizer.step()
        frozen.grad = None
        expected = HessianOperator(Objective(model, batches), space).matvec(direction)
        found = operator.matvec(direction)
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
        assert vectors.norm(vectors.axpy(-1.0, before, found)) > 1e-3 * vectors.norm(before)


def test_kept_graphs_survive_leaving_and_entering_the_full_space(tiny_lora, batches) -> None:
    model = tiny_lora()
    space = parameter_space(model, "full")
    operator = HessianOperator(Objective(model, batches), space)
    direction = space.random_direction(seed=0, stream="test")
    first = operator.matvec(direction)
    second = operator.matvec(direction)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_linear_and_unreached_parameters_have_zero_rows() -> None:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.curved = nn.Parameter(torch.tensor([1.0, 2.0]))
            self.linear = nn.Parameter(torch.tensor([3.0]))
            self.unused = nn.Parameter(torch.tensor([4.0]))

        def forward(self) -> torch.Tensor:
            return self.curved.pow(3).sum() + 2.0 * self.linear.sum()

    model = Loss()
    objective = Objective(model, [1], loss=lambda module, batch: (module(), 1))
    operator = HessianOperator(objective, FullSpace(model, parameters=["curved", "linear", "unused"]))
    curved, linear, unused = operator.matvec([torch.ones(2), torch.ones(1), torch.ones(1)])
    torch.testing.assert_close(curved, torch.tensor([6.0, 12.0]))
    assert linear.item() == unused.item() == 0.0
    flat = HessianOperator(objective, FullSpace(model, parameters=["linear"]))
    assert flat.matvec([torch.ones(1)])[0].item() == 0.0


def test_a_bfloat16_model_takes_and_gives_float32_vectors(tiny_lora, batches) -> None:
    model, exact = tiny_lora(dtype=torch.bfloat16), tiny_lora()
    products = []
    for one in (model, exact):
        with parameter_space(one, "full") as space:
            direction = space.random_direction(seed=0, stream="test")
            products.append(HessianOperator(Objective(one, batches), space).matvec(direction))
    assert {block.dtype for block in products[0]} == {torch.float32}
    found, expected = products[0], [block.float() for block in products[1]]
    cosine = vectors.dot(found, expected) / (vectors.norm(found) * vectors.norm(expected))
    assert cosine > 0.98


def test_an_operation_without_a_second_derivative_is_named(tiny_llama) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return 2 * ctx.saved_tensors[0] * gradient

    weight = nn.Linear(2, 2)
    objective = Objective(weight, [1], loss=lambda model, batch: (Once.apply(model.weight).square().sum(), 1))
    operator = HessianOperator(objective, parameter_space(weight, "full"))
    with pytest.raises(SecondDerivativeError, match="marked once_differentiable"):
        operator.matvec([torch.ones(2, 2)])


def test_fused_attention_is_named_with_the_way_out() -> None:
    """The plain kernel is asked for, so fused attention only remains where a model calls it by its own name."""

    def loss(model, batch):
        x = model.weight.view(1, 1, 4, 4)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x)[0].sum(), 1

    model = nn.Linear(4, 4)
    operator = HessianOperator(Objective(model, [1], loss=loss), parameter_space(model, "full"))
    with pytest.raises(SecondDerivativeError, match=r"aten::_scaled_dot.*attn_implementation='eager'"):
        operator.matvec([torch.ones(4, 4)])


def test_other_errors_pass_unchanged() -> None:
    def loss(model, batch):
        raise RuntimeError("out of luck")

    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="out of luck"):
        HessianOperator(Objective(model, [1], loss=loss), parameter_space(model, "full")).matvec([torch.ones(2, 2)])
