from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.diffusion.architecture import NoisyBatch, TextToImage, evaluation_step
from benchmarks.diffusion.pixels import to_pixels
from benchmarks.diffusion.sampling import picture_noise
from benchmarks.loading import open_model
from benchmarks.tasks import create_task
from tests.tiny_pictures import save_tiny_text_to_image

TASK = create_task("pocket-icons")
EXAMPLES = TASK.examples("train")[:6]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TextToImage]:
    folder: Path = save_tiny_text_to_image(tmp_path_factory.mktemp("base"))
    model, architecture = open_model(folder, device=torch.device("cpu"))
    assert isinstance(architecture, TextToImage)
    return model, architecture


def test_rows_hold_the_pictures_and_their_encoded_prompts(opened: tuple[Any, TextToImage]) -> None:
    rows = opened[1].rows(TASK, EXAMPLES)
    pictures = to_pixels(torch.stack([row["clean"] for row in rows]))
    assert np.array_equal(pictures, TASK.pictures(EXAMPLES))  # type: ignore[attr-defined]
    assert rows[0]["text"].shape == (20, 16)
    assert rows[0]["pooled"].shape == (16,)
    assert rows[0]["numbers"].tolist() == [32, 32, 0, 0, 32, 32]


def test_training_noise_is_a_function_of_the_seed(opened: tuple[Any, TextToImage]) -> None:
    rows = opened[1].rows(TASK, EXAMPLES)
    first, again, other = (NoisyBatch(seed) for seed in (1, 1, 2))
    for _ in range(2):
        a, b, c = first(rows[:2]), again(rows[:2]), other(rows[:2])
        assert torch.equal(a["noise"], b["noise"])
        assert torch.equal(a["steps"], b["steps"])
        assert not torch.equal(a["noise"], c["noise"])
    assert not torch.equal(first(rows[:2])["noise"], a["noise"])


def test_evaluation_has_fixed_noise_at_steps_spread_evenly(opened: tuple[Any, TextToImage]) -> None:
    rows = opened[1].rows(TASK, EXAMPLES)
    batches = opened[1].batches(rows, size=4)
    assert [len(batch["steps"]) for batch in batches] == [4, 2] * 4
    steps = sorted(int(step) for batch in batches for step in batch["steps"])
    assert np.diff(steps).max() - np.diff(steps).min() <= 1
    assert steps[0] == 1000 // 48
    again = opened[1].batches(rows, size=4)
    assert all(torch.equal(a["noise"], b["noise"]) for a, b in zip(batches, again, strict=True))
    assert torch.equal(batches[3]["noise"][1], picture_noise(4 * 5 + 1, (12, 16, 16)))
    (once,) = opened[1].batches(rows, size=16, once=True)
    assert once["steps"].tolist() == [evaluation_step(k, 0, rows=6, draws=1) for k in range(6)]


def test_the_objective_is_the_mean_over_pictures_whatever_the_batches(opened: tuple[Any, TextToImage]) -> None:
    model, architecture = opened
    rows = architecture.rows(TASK, EXAMPLES)
    whole = architecture.objective(model, rows, size=6, once=True).value()
    assert architecture.objective(model, rows, size=4, once=True).value() == pytest.approx(whole, rel=1e-6)
    (batch,) = architecture.batches(rows, size=6, once=True)
    with torch.no_grad():
        assert model(**batch).loss.item() == pytest.approx(whole, rel=1e-6)


def test_micro_batches_see_the_noise_of_the_whole_batch(opened: tuple[Any, TextToImage]) -> None:
    rows = opened[1].rows(TASK, EXAMPLES)
    whole, parts = NoisyBatch(5)(rows[:4]), NoisyBatch(5)
    halves = [parts(rows[:2]), parts(rows[2:4])]
    for name, values in whole.items():
        assert torch.equal(values, torch.cat([half[name] for half in halves]))


def test_a_resumed_run_draws_on_from_where_it_was(opened: tuple[Any, TextToImage]) -> None:
    architecture = opened[1]
    rows = architecture.rows(TASK, EXAMPLES)
    whole, resumed = architecture.collator(seed=3), architecture.collator(seed=3, skipped=4)
    whole(rows[:4])
    expected, found = whole(rows[4:6]), resumed(rows[4:6])
    assert all(torch.equal(values, found[name]) for name, values in expected.items())
