"""The base that ships with the project is what its record says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.judge import accuracies, build_judged_shard, load_judge
from benchmarks.pocket.sdxl_card import CARD, RECORD, SdxlRecord, write_record
from benchmarks.pocket.sdxl_recipe import held_out_loss
from benchmarks.pocket.training import CurvePoint

FOLDER = POCKET_MODELS / "pocket-sdxl"


@pytest.fixture(scope="module")
def record() -> Any:
    return json.loads((FOLDER / RECORD).read_text())


def test_all_weights_are_in_bf16_and_small_together() -> None:
    files = sorted(FOLDER.rglob("*.safetensors"))
    assert [file.parent.name for file in files] == ["judge", "text_encoder", "unet"]
    for file in files:
        with safe_open(file, framework="pt") as weights:
            types = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        # CLIP keeps the positions of its words as a buffer of whole numbers in some releases.
        assert types - {"I64"} == {"BF16"}
    assert sum(file.stat().st_size for file in files) < 16e6


@pytest.mark.slow
def test_the_held_out_loss_is_the_recorded_one(record: Any) -> None:
    held_out = record["held_out"]
    found = held_out_loss(FOLDER, device=torch.device("cpu"), pictures=held_out["pictures"], seed=held_out["seed"])
    assert found == pytest.approx(held_out["loss"], rel=2e-3)


def test_the_judge_is_as_good_as_recorded() -> None:
    recorded = json.loads((FOLDER / "judge" / "judge.json").read_text())["accuracy"]
    found = accuracies(load_judge(FOLDER / "judge"), build_judged_shard((999_999, 600)))
    assert found == pytest.approx(recorded, abs=0.03)
    assert recorded["subject"] > 0.95
    assert recorded["style"] > 0.95


def test_the_card_that_ships_is_made_of_its_record(record: Any, tmp_path: Any) -> None:
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "judge.json").write_text((FOLDER / "judge" / "judge.json").read_text())
    curve = tuple(CurvePoint(**point) for point in record["curve"])
    write_record(tmp_path, SdxlRecord(**{**record, "curve": curve}))
    assert (tmp_path / CARD).read_text() == (FOLDER / CARD).read_text()
    losses = [point["loss"] for point in record["curve"]]
    assert np.mean(losses[-5:]) < losses[0] / 5
