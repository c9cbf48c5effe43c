"""The command on an SDXL: the preset of the paper's Table 3 carries itself out on a user's pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import compare
from benchmarks.tasks.dreambooth import DreamBooth
from tests.tiny_sdxl import SIDE, save_captioner, save_clip, save_pictures, save_sdxl

# Three runs draw fifteen pictures each; the parts have fast tests of their own.
pytestmark = pytest.mark.slow
TASK = "dreambooth-3d-icons"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdxl")
    save_sdxl(folder / "sdxl")
    save_pictures(folder / "pictures", count=8)
    save_clip(folder / "clip")
    save_captioner(folder / "blip")
    return folder


def run(place: Path, out: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple[pd.DataFrame, str]:
    monkeypatch.setattr(DreamBooth, "sampling_steps", 2)
    arguments = ["--preset", "table3-sdxl-icons", "--data", str(place / "pictures"), "--model", str(place / "sdxl")]
    arguments += ["--resolution", str(SIDE), "--steps", "2", "--seeds", "1", "--test-examples", "3", "--threads", "1"]
    assert compare.main([*arguments, "--device", "cpu", "--out", str(place / out), *more]) == 0
    return pd.read_csv(place / out / "results.csv"), (place / out / "report" / "index.html").read_text()


def test_with_clip_the_pictures_are_scored_beside_the_published_numbers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = ("--clip-model", str(place / "clip"), "--caption-model", str(place / "blip"))
    table, page = run(place, "judged", monkeypatch, *judges)
    assert table["method"].tolist() == ["lora", "lora-sam", "bilora"]
    assert table[["score", "I2T_score", "T2T_score", "eval_loss", "step_seconds"]].notna().all(axis=None)
    assert table["score"].tolist() == table["I2T_score"].tolist()
    for folder in (place / "judged" / "runs").iterdir():
        assert np.load(folder / "pictures.npy").shape == (12, 3, SIDE, SIDE)
        assert len(json.loads((folder / "drawn.json").read_text())) == 12
        examples = json.loads((folder / "examples.json").read_text())
        assert [e["reference"] for e in examples] == ["fluffy rabbit", "curly cloud", "roaring lion"]
        assert all(e["generated"] for e in examples)
        assert (folder / "adapter" / "pytorch_lora_weights.safetensors").is_file()
    assert "32.43" in page
    assert f'id="pictures-{TASK}"' in page
    # The same command has nothing left to do.
    before = {path: path.stat().st_mtime for path in (place / "judged" / "runs").glob("*/run.json")}
    run(place, "judged", monkeypatch, *judges)
    assert {path: path.stat().st_mtime for path in before} == before


def test_without_clip_the_page_says_what_is_scored_and_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("--methods", "lora", "--measure", "true", "--dtype", "float32", "--measure-examples", "2", "--top", "1")
    table, page = run(place, "alone", monkeypatch, *more, "--max-products", "12")
    assert table["score"].iloc[0] == pytest.approx(1 - table["eval_loss"].iloc[0], rel=1e-5)
    assert table["lambda_max_full"].notna().all()
    assert "no CLIP model has scored the pictures" in page
    assert "Mean squared error of the predicted noise" in page
    assert f'id="pictures-{TASK}"' in page


def test_own_pictures_are_a_task(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DreamBooth, "sampling_steps", 2)
    arguments = ["--tasks", f"dreambooth:{place / 'pictures'}", "--model", str(place / "sdxl"), "--measure", "false"]
    arguments += ["--methods", "lora", "--steps", "2", "--device", "cpu", "--out", str(place / "own"), "--threads", "1"]
    assert compare.main(arguments) == 0
    assert pd.read_csv(place / "own" / "results.csv")["task"].tolist() == ["dreambooth-pictures"]
