from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image

from benchmarks.diffusion.folder import load_base
from benchmarks.pocket import pretrain
from benchmarks.pocket.pictures.rows import PIXELS, PictureShard, build_picture_shard
from benchmarks.pocket.sdxl_architecture import SMOKE_SDXL, build_text_encoder, build_unet
from benchmarks.pocket.sdxl_recipe import TextToImage, held_out_loss


def test_the_smoke_recipe_makes_a_complete_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "base"
    arguments = ["--model", "pocket-sdxl", "--smoke", "--device", "cpu", "--out", str(out)]
    assert pretrain.main(arguments) == 0
    record = json.loads((out / "training_curve.json").read_text())
    first, last = (np.mean([point["loss"] for point in part]) for part in (record["curve"][:8], record["curve"][-8:]))
    assert last < first
    unet, encode = load_base(out, device=torch.device("cpu"))
    assert record["parameters"]["unet"] == sum(p.numel() for p in unet.parameters())
    assert record["parameters"]["text_encoder"] == sum(p.numel() for p in encode.encoder.parameters())
    found = held_out_loss(out, device=torch.device("cpu"), pictures=16, seed=0)
    assert found == pytest.approx(record["held_out"]["loss"], rel=1e-5)
    card = (out / "README.md").read_text()
    assert f"{found:.4f}" in card
    assert "--smoke" in card
    assert image.imread(out / "samples.png").shape[1] == 2 * (16 * 33 + 1)
    assert set(json.loads((out / "judge" / "judge.json").read_text())["accuracy"]) >= {"subject", "style"}
    capsys.readouterr()
    # A second run must not destroy what the first one made.
    assert pretrain.main(arguments) == 2
    assert "already holds weights" in capsys.readouterr().err


def test_a_row_is_trained_on_its_own_picture_and_caption() -> None:
    torch.manual_seed(0)
    model = TextToImage(build_text_encoder(SMOKE_SDXL), build_unet(SMOKE_SDXL))
    rows = torch.from_numpy(build_picture_shard(PictureShard(shard=0, count=4, seed=0)).astype(np.int64))

    def loss(changed: torch.Tensor) -> float:
        torch.manual_seed(1)
        with torch.no_grad():
            return float(model(changed))

    before = loss(rows)
    assert before == loss(rows)
    for column in (0, PIXELS + 2, rows.shape[1] - 6):
        other = rows.clone()
        other[:, column] = 3
        assert loss(other) != before


def test_recorded_passes_and_a_compiled_model_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main(["--model", "pocket-sdxl", "--compile", "--cuda-graphs", "--out", "/nowhere"]) == 2
    assert "--cuda-graphs: a compiled model is not recorded" in capsys.readouterr().err
