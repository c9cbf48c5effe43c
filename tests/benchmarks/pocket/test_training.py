from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.pocket.architecture import LlamaShape, build_llama
from benchmarks.pocket.corpus import PAD, ROW_TOKENS, Rows
from benchmarks.pocket.training import CurvePoint, TrainingSettings, next_token_loss, rate_factor, row_batches, train

TINY = LlamaShape(vocabulary=64, hidden=32, intermediate=48, layers=1, head=16)


def rows(count: int, *, seed: int = 0) -> Rows:
    filled = np.random.default_rng(seed).integers(3, 64, size=(count, ROW_TOKENS)).astype(np.uint16)
    filled[::2, ROW_TOKENS // 2 :] = PAD
    return filled


def test_the_rate_rises_and_falls_to_zero() -> None:
    assert [rate_factor(progress, 0.1) for progress in (0.0, 0.05, 0.1, 1.0)] == pytest.approx([0.0, 0.5, 1.0, 0.0])
    assert rate_factor(0.55, 0.1) == pytest.approx(0.5)
    assert rate_factor(1.3, 0.1) == pytest.approx(0.0)


def test_loss_is_the_mean_over_tokens_by_hand() -> None:
    torch.manual_seed(0)
    model = build_llama(TINY).double().eval()
    batch = torch.from_numpy(rows(3).astype(np.int64))
    with torch.no_grad():
        log_probabilities = model(input_ids=batch).logits.log_softmax(-1)
        loss = next_token_loss(model, batch)
    total, counted = 0.0, 0
    for row, row_probabilities in zip(batch, log_probabilities, strict=True):
        for place in range(ROW_TOKENS - 1):
            if row[place + 1] != PAD:
                total -= float(row_probabilities[place, row[place + 1]])
                counted += 1
    assert loss.item() == pytest.approx(total / counted, rel=1e-6)


def test_a_random_model_starts_at_the_loss_of_guessing() -> None:
    torch.manual_seed(0)
    loss = next_token_loss(build_llama(TINY), torch.from_numpy(rows(2).astype(np.int64)))
    assert loss.item() == pytest.approx(math.log(64), abs=0.1)


def test_each_epoch_meets_every_row_once() -> None:
    shards = [rows(8, seed=1), rows(12, seed=2)]
    stream = row_batches(iter(shards), TrainingSettings(tokens=1, batch_rows=4))
    first = [next(stream) for _ in range(5)]
    second = [next(stream) for _ in range(5)]
    assert (np.concatenate(first) == np.concatenate(shards)).all()
    assert not (np.concatenate(second) == np.concatenate(first)).all()
    assert sorted(map(bytes, np.concatenate(second))) == sorted(map(bytes, np.concatenate(first)))


def test_shards_smaller_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="lower --batch-rows"):
        next(row_batches([rows(3)], TrainingSettings(tokens=1, batch_rows=4)))


def run(settings: TrainingSettings) -> tuple[list[CurvePoint], torch.Tensor]:
    torch.manual_seed(0)
    model = build_llama(TINY)
    curve = train(model, [rows(16)], settings, report=lambda _: None, points=5)
    return curve, model.lm_head.weight.detach()


def test_training_learns_and_is_repeatable() -> None:
    settings = TrainingSettings(tokens=120_000, batch_rows=4, learning_rate=1e-2)
    curve, weights = run(settings)
    assert curve[-1].loss < curve[0].loss - 0.1
    assert curve[-1].tokens >= settings.tokens
    assert curve[-1].learning_rate == pytest.approx(0.0)
    again, weights_again = run(settings)
    assert [point.loss for point in again] == [point.loss for point in curve]
    assert torch.equal(weights, weights_again)


def test_a_time_limit_ends_the_run() -> None:
    curve, _ = run(TrainingSettings(tokens=10**9, minutes=0.01, batch_rows=4))
    assert curve[-1].tokens < 10**9
    assert curve[-1].learning_rate == pytest.approx(0.0)


def test_a_diverged_run_stops_with_the_flag_to_change() -> None:
    with pytest.raises(ValueError, match=r"became .* at step .*; lower --learning-rate"):
        run(TrainingSettings(tokens=200_000, batch_rows=4, learning_rate=float("inf")))


def test_a_width_that_no_head_divides_is_refused() -> None:
    with pytest.raises(ValueError, match="found 40, expected a multiple of the head width 16"):
        build_llama(LlamaShape(hidden=40, head=16))


def test_relative_rates_move_every_parameter_in_proportion_to_its_size() -> None:
    """Of two steps on one batch the first has rate zero; AdamW then moves by its rate where there is a gradient."""
    changes = {}
    for relative in (False, True):
        torch.manual_seed(0)
        model = build_llama(TINY)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        settings = TrainingSettings(
            tokens=4_000, batch_rows=16, learning_rate=1e-3, weight_decay=0.0, relative=relative
        )
        train(model, [rows(16)], settings, report=lambda _: None)
        after = dict(model.named_parameters())
        changes[relative] = {name: (after[name].detach() - value).abs().max().item() for name, value in before.items()}
    sizes = {name: value.square().mean().sqrt().item() for name, value in before.items()}
    rates = set(sizes.values())
    assert max(rates) > 10 * min(rates)
    assert min(changes[False].values()) == pytest.approx(max(changes[False].values()), rel=0.01)
    assert changes[True] == pytest.approx({name: changes[False][name] * size for name, size in sizes.items()}, rel=0.01)
