from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from benchmarks.pocket.judge import (
    NEAR_MISS,
    STYLE_NAMES,
    SUBJECT_NAMES,
    Judge,
    accuracies,
    build_judged_shard,
    judged_scene,
    load_judge,
    save_judge,
    spoiled,
    style_name,
    train_judge,
    verdicts,
)
from benchmarks.pocket.pictures.scene import ICON, draw


def test_rows_name_what_was_drawn() -> None:
    rows = build_judged_shard((3, 60))
    rng = Random("judge 3")
    for row in rows:
        scene = judged_scene(rng)
        assert np.array_equal(row[:-2].reshape(3, 32, 32), draw(scene))
        assert SUBJECT_NAMES[row[-2]] == scene.subject
        assert STYLE_NAMES[row[-1]] == style_name(scene)
    styles = [STYLE_NAMES[row[-1]] for row in build_judged_shard((4, 600))]
    assert styles.count(ICON) == pytest.approx(200, abs=50)
    assert styles.count(NEAR_MISS) == pytest.approx(100, abs=40)


def test_a_judge_learns_to_tell_the_icon_style() -> None:
    rows = build_judged_shard((5, 400))
    losses: list[float] = []
    judge = train_judge(
        rows, device=torch.device("cpu"), steps=60, batch_size=32, report=lambda step, loss: losses.append(loss)
    )
    assert losses[-1] < 0.75 * losses[0]
    found = accuracies(judge, build_judged_shard((6, 200)))
    assert found["icons called icons"] > found["others called icons"] + 0.3


def test_accuracies_count_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = build_judged_shard((7, 100))
    right = [(SUBJECT_NAMES[row[-2]], STYLE_NAMES[row[-1]]) for row in rows]
    monkeypatch.setattr("benchmarks.pocket.judge.verdicts", lambda *_: [(s, ICON) for s, _ in right])
    found = accuracies(Judge(), rows)
    assert (found["subject"], found["icons called icons"], found["others called icons"]) == (1.0, 1.0, 1.0)
    assert found["style"] == sum(t == ICON for _, t in right) / 100


def test_half_of_the_pictures_are_spoiled_and_none_beyond_recognition() -> None:
    pixels = torch.from_numpy(build_judged_shard((8, 300))[:, :-2].reshape(-1, 3, 32, 32)).float()
    found = spoiled(pixels, torch.Generator().manual_seed(0))
    change = (found - pixels).abs().mean(dim=(1, 2, 3))
    assert (change == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert change.max() < 40
    assert found.min() >= 0
    assert found.max() <= 255


def test_a_judge_is_saved_in_bf16_and_names_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Judge().to(torch.bfloat16).float().eval()
    save_judge(tmp_path, judge, {})
    pictures = build_judged_shard((9, 20))[:, :-2].reshape(-1, 3, 32, 32)
    assert verdicts(load_judge(tmp_path), pictures) == verdicts(judge, pictures, batch_size=7)
    assert (tmp_path / "judge.safetensors").stat().st_size < 2 * 2**20
