from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilora.pair_product import pair_product, pair_product_backward


def layers(count: int, *, biased: bool, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Input, weights, biases, stacked A and all B of layers that differ in width and rank."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    widths, ranks = [5, 7, 3][:count], [2, 4, 3][:count]
    x = normal(2, 6, 8).requires_grad_()
    W = [normal(width, 8) for width in widths]
    bias = [normal(width) for width in widths] if biased else []
    A = normal(sum(ranks), 8).requires_grad_()
    B = [normal(width, rank).requires_grad_() for width, rank in zip(widths, ranks, strict=True)]
    return x, W, bias, A, B


def written_out(x: Tensor, W: list[Tensor], bias: list[Tensor], A: Tensor, B: list[Tensor]) -> list[Tensor]:
    outputs, row = [], 0
    for index, (weight, factor) in enumerate(zip(W, B, strict=True)):
        part = A[row : row + factor.shape[1]]
        row += factor.shape[1]
        y = x @ (weight + factor @ part).T
        outputs.append(y + bias[index] if bias else y)
    return outputs


def loss(outputs: list[Tensor]) -> Tensor:
    return sum((y.sin() * (1 + index)).sum() for index, y in enumerate(outputs))  # type: ignore[return-value]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_outputs_and_gradients_are_those_of_the_merged_weights(count: int, biased: bool) -> None:
    x, W, bias, A, B = layers(count, biased=biased)
    found, expected = pair_product(x, W, bias, A, B)[:-1], written_out(x, W, bias, A, B)
    for y, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    for gradient, wanted in zip(
        torch.autograd.grad(loss(found), [x, A, *B]), torch.autograd.grad(loss(expected), [x, A, *B]), strict=True
    ):
        torch.testing.assert_close(gradient, wanted, rtol=1e-11, atol=1e-11)


def test_an_input_without_gradient_gets_none() -> None:
    x, W, bias, A, B = layers(2, biased=False)
    loss(pair_product(x.detach(), W, bias, A, B)[:-1]).backward()
    expected = torch.autograd.grad(loss(written_out(x, W, bias, A, B)), [A, *B])
    for parameter, wanted in zip([A, *B], expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-11, atol=1e-11)


def test_a_backward_pass_can_be_differentiated() -> None:
    x, W, bias, A, B = layers(2, biased=True)
    inputs = [x, A, *B]

    def second(outputs: list[Tensor]) -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(loss(outputs), inputs, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in gradients), inputs)

    found = second(pair_product(x, W, bias, A, B)[:-1])
    for gradient, wanted in zip(found, second(written_out(x, W, bias, A, B)), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-10)


def test_the_operator_keeps_pytorchs_rules() -> None:
    x, W, bias, A, B = layers(3, biased=True)
    # Gradients with symbolic shapes are another test's: they need a backend.
    rules = ("test_schema", "test_faketensor")
    torch.library.opcheck(pair_product, (x, W, bias, A, B), test_utils=rules)
    for transposed in (False, True):
        lie = [t.detach().T.contiguous().T if transposed else t.detach() for t in (A, *B)]
        y = pair_product(x.detach(), W, bias, lie[0], lie[1:])
        inputs = (y[:-1], x.detach(), y[-1], W, lie[0], lie[1:], True)
        torch.library.opcheck(pair_product_backward, inputs, test_utils=rules)


def test_bfloat16_is_as_exact_as_its_numbers() -> None:
    x, W, bias, A, B = layers(3, biased=False, dtype=torch.bfloat16)
    exact = [x.double(), [w.double() for w in W], [], A.double(), [b.double() for b in B]]
    for y, wanted in zip(pair_product(x, W, bias, A, B)[:-1], written_out(*exact), strict=True):
        assert (y.double() - wanted).norm() <= 2**-7 * wanted.norm()
