from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import build_optimizer
from bilora.methods import LoraEsam, LoraLookSam, MethodError, create_method
from tests.driving import Points, chosen_rows, flat, gradient_at, in_double, like, present, step_gradients, trained
from tests.tiny import as_batch, attached, examples


def losses_of_examples(model: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.stack(
            [model(**{k: v[i : i + 1] for k, v in batch.items()}).loss for i in range(len(batch["labels"]))]
        )


def esam(**options: Any) -> tuple[Any, LoraEsam]:
    model, method = in_double("lora-esam", **options)
    assert isinstance(method, LoraEsam)
    return model, method


@pytest.mark.parametrize("as_published", [False, True])
def test_esam_perturbs_whole_tensors_and_keeps_the_examples_that_suffer_most(as_published: bool) -> None:
    model, method = esam(rho=0.3, beta=0.5, gamma=0.5, as_published=as_published)
    batch, points = as_batch(examples(10)), Points(model)
    weights = trained(model)
    g = gradient_at(model, batch)
    mask = [float(i in method.kept_tensors(len(weights))) for i in range(len(weights))]
    assert 0 < sum(mask) < len(mask)
    masked = flat([m * x for m, x in zip(mask, g, strict=True)])
    eps = 0.3 / 0.5 * masked / (masked.norm() if as_published else flat(g).norm())
    clean = losses_of_examples(model, batch)
    start = [p.detach().clone() for p in weights]
    with torch.no_grad():
        for p, move in zip(weights, like(eps, weights), strict=True):
            p.add_(move)
    rise = losses_of_examples(model, batch) - clean
    with torch.no_grad():
        for p, value in zip(weights, start, strict=True):
            p.copy_(value)
    count = 4 if as_published else 5
    expected = torch.zeros(10, dtype=torch.bool)
    expected[rise.argsort(descending=True)[:count]] = True

    step_gradients(method, model, batch, seen=points)
    torch.testing.assert_close(points.moves[1], eps, rtol=1e-5, atol=1e-9)
    assert points.kept[0] is None
    assert points.kept[1].tolist() == expected.tolist()
    exact = gradient_at(model, chosen_rows(batch, expected), like(eps, weights))
    torch.testing.assert_close(flat(present(model)), flat(exact), rtol=1e-4, atol=1e-8)
    assert method.cost.gradients == pytest.approx(1 + count / 10)
    # This loop hands out one loss alone, so that the clean example losses take a pass of their own.
    assert method.cost.forwards == 2


@pytest.mark.parametrize(("selection", "forwards"), [("loss", 0), ("rise", 1)])
def test_esam_by_clean_loss_needs_no_forward_pass(selection: str, forwards: int) -> None:
    model, method = esam(rho=0.3, selection=selection)
    batch, points = as_batch(examples(10)), Points(model)
    clean = losses_of_examples(model, batch)

    def forward_backward(kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        points(kept)
        rows = chosen_rows(batch, kept)
        loss = model(**rows).loss
        loss.backward()
        return loss.detach(), losses_of_examples(model, rows)

    method.gradients(forward_backward, example_losses=lambda: losses_of_examples(model, batch))
    kept = points.kept[1]
    assert int(kept.sum()) == 5
    assert (clean[kept].min() > clean[~kept].max()) == (selection == "loss")
    assert (method.cost.gradients, method.cost.forwards) == (1.5, forwards)


def test_esam_masks_are_those_of_seed_and_step() -> None:
    _, first = esam()
    _, again = esam()
    _, other = esam(seed=8)
    drawn = {}
    for method in (first, again, other):
        drawn[id(method)] = []
        for step in range(30):
            method.steps = step
            drawn[id(method)].append(method.kept_tensors(28))
    assert drawn[id(first)] == drawn[id(again)] != drawn[id(other)]
    assert len({tuple(kept) for kept in drawn[id(first)]}) == 30
    share = sum(map(len, drawn[id(first)])) / (30 * 28)
    assert abs(share - 0.5) < 4 * 0.5 / (30 * 28) ** 0.5  # four standard errors of a fair coin


def test_esam_always_keeps_a_tensor_and_an_example() -> None:
    _, method = esam(beta=1e-9, gamma=1e-9)
    assert [len(method.kept_tensors(n)) for n in (1, 2, 28)] == [1, 1, 1]
    assert [method.kept_examples(n) for n in (1, 2, 28)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("gamma", "as_published", "kept"),
    [
        (0.5, False, [1, 1, 2, 2, 4]),
        (0.5, True, [1, 1, 1, 1, 3]),
        (1.0, True, [1, 2, 3, 4, 8]),
        (0.7, False, [1, 1, 2, 3, 6]),
    ],
)
def test_esam_keeps_exactly_its_part_of_the_examples(gamma: float, as_published: bool, kept: list[int]) -> None:
    _, method = esam(gamma=gamma, as_published=as_published)
    assert [method.kept_examples(n) for n in (1, 2, 3, 4, 8)] == kept


def test_esam_takes_an_example_without_scored_tokens_last() -> None:
    """Over such examples alone there is no mean loss; every other example's loss may well have fallen."""
    model, method = esam(rho=0.0, gamma=0.5)
    rows = examples(4)
    for row in rows[:2]:
        row["labels"] = [-100] * len(row["labels"])
    batch, points = as_batch(rows), Points(model)

    def losses() -> Tensor:
        found = [torch.zeros(()) if i < 2 else model(**chosen_rows(batch, torch.tensor([i]))).loss for i in range(4)]
        return torch.stack(found) - 0.1 * (len(points.kept) > 1)

    def forward_backward(kept: Tensor | None = None) -> Tensor:
        points(kept)
        loss: Tensor = model(**chosen_rows(batch, kept)).loss
        loss.backward()
        return loss.detach()

    method.gradients(forward_backward, example_losses=losses)
    assert points.kept[1].tolist() == [False, False, True, True]


def looksam(**options: Any) -> tuple[Any, LoraLookSam]:
    model, method = in_double("lora-looksam", **options)
    assert isinstance(method, LoraLookSam)
    return model, method


def test_looksam_reuses_the_part_of_sam_that_the_gradient_lacks() -> None:
    """Decomposed over all tensors together, not one by one."""
    model, method = looksam(rho=0.3, k=3, alpha=0.7)
    optimizer = build_optimizer(method, lr=1e-2)
    kept = None
    for step in range(7):
        batch = as_batch(examples(seed=step))
        g = flat(gradient_at(model, batch))
        if step % 3 == 0:
            expected = flat(gradient_at(model, batch, like(0.3 * g / g.norm(), trained(model))))
            kept = expected - (expected @ g) / (g @ g) * g
            assert kept.norm() > 0.05 * g.norm()
        else:
            expected = g + 0.7 * g.norm() / kept.norm() * kept
        step_gradients(method, model, batch)
        torch.testing.assert_close(flat(present(model)), expected, rtol=1e-4, atol=1e-7)
        optimizer.step()
        optimizer.zero_grad()
    assert method.cost.gradients == 7 + 3


def test_looksam_adds_no_rounding_noise_where_both_gradients_are_one() -> None:
    """At rho = 0 what is left of g~ - c g is rounding; scaled to alpha ||g|| it would turn the step around."""
    model, method = looksam(rho=0.0, k=4)
    optimizer = build_optimizer(method, lr=1e-2)
    for step in range(4):
        batch = as_batch(examples(seed=step))
        g = flat(gradient_at(model, batch))
        step_gradients(method, model, batch)
        torch.testing.assert_close(flat(present(model)), g, rtol=1e-9, atol=1e-12)
        optimizer.step()
        optimizer.zero_grad()


def test_looksam_counts_steps_and_not_calls() -> None:
    """A step that is not taken (an overflow, a skipped batch) is tried again as a SAM step."""
    model, method = looksam(k=5)
    for _ in range(3):
        step_gradients(method, model, as_batch(examples()))
        model.zero_grad()
    assert method.cost.gradients == 6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lora-esam", {"beta": 0}, "option beta is 0; expected a number in (0, 1]"),
        ("lora-esam", {"gamma": 1.5}, "option gamma is 1.5; expected a number in (0, 1]"),
        ("lora-esam", {"selection": "sharpness"}, "option selection is 'sharpness'; expected one of rise, loss"),
        ("lora-esam", {"as_published": 1}, "option as_published is 1; expected true or false"),
        ("lora-looksam", {"k": 0}, "option k is 0; expected an integer >= 1"),
        ("lora-looksam", {"k": 2.5}, "option k is 2.5; expected an integer >= 1"),
        ("lora-looksam", {"alpha": -1}, "option alpha is -1; expected a finite number >= 0"),
    ],
)
def test_bad_options_are_answered(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method(name, **options)
    assert message in str(error.value)


def test_esam_asks_a_plain_loop_for_example_losses() -> None:
    model, method = attached("lora-esam")
    batch = as_batch(examples(4))

    def forward_backward() -> Tensor:
        loss: Tensor = model(**batch).loss
        loss.backward()
        return loss.detach()

    with pytest.raises(MethodError, match=r"pass example_losses=FUNCTION to Method\.gradients"):
        method.gradients(forward_backward)
