"""The command on a text-to-image base: pictures are trained on, drawn, judged, measured and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import PeftModel

from benchmarks import compare
from tests.tiny_pictures import save_tiny_text_to_image


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *("--tasks", "pocket-icons", "--model", str(folder / "base"), "--device", "cpu", "--threads", "1"),
        *("--steps", "3", "--learning-rate", "0.01", "--evaluations", "1", "--evaluation-examples", "4"),
        *("--test-examples", "4", "--measure-examples", "4", "--max-products", "30", *more),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("icons")
    save_tiny_text_to_image(folder / "base")
    assert compare.main(arguments(folder, "--out", str(folder / "out"))) == 0
    return folder


def runs(folder: Path, out: str = "out") -> dict[str, Path]:
    return {
        path.name.split("-seed")[0].removeprefix("pocket-icons-"): path for path in (folder / out / "runs").iterdir()
    }


def test_every_method_is_scored_and_measured_in_both_spaces(finished: Path) -> None:
    table = pd.read_csv(finished / "out" / "results.csv")
    assert table["method"].tolist() == ["lora", "lora-sam", "bilora"]
    columns = ["score", "thing_score", "style_score", "eval_loss", "lambda_max_full", "lambda_max_lora"]
    assert table[[*columns, "worst_case_full", "worst_case_lora"]].notna().all(axis=None)
    assert table["gradient_evaluations"].tolist() == [3, 6, 3]
    assert (table["perturbation_norm"].iloc[1:] > 0).all()
    page = (finished / "out" / "report" / "index.html").read_text()
    assert 'id="pictures-pocket-icons"' in page
    assert "denoising loss" in page


def test_pictures_lie_beside_their_verdicts(finished: Path) -> None:
    for folder in runs(finished).values():
        pictures = np.load(folder / "pictures.npy", allow_pickle=False)
        examples = json.loads((folder / "examples.json").read_text())
        assert pictures.shape == (len(examples), 3, 32, 32) == (4, 3, 32, 32)
        assert all(set(example["generated"]) for example in examples)


def test_an_exported_adapter_is_plain_peft_on_a_plain_unet(finished: Path) -> None:
    plain: Any = UNet2DConditionModel.from_pretrained(finished / "base" / "unet", low_cpu_mem_usage=False)
    adapted = PeftModel.from_pretrained(plain, runs(finished)["bilora"] / "adapter")
    moved = [p for name, p in adapted.named_parameters() if "lora_B" in name]
    attentions = sum(name.endswith(("attn1", "attn2")) for name, _ in adapted.named_modules())
    assert len(moved) == 4 * attentions
    assert all(torch.count_nonzero(p) for p in moved)


@pytest.mark.slow
def test_micro_batches_train_as_the_whole_batch_does(finished: Path) -> None:
    more = ("--methods", "lora", "--measure", "false", "--out", str(finished / "small"), "--micro-batch-size", "2")
    assert compare.main(arguments(finished, *more)) == 0
    whole, small = (json.loads((runs(finished, out)["lora"] / "history.json").read_text()) for out in ("out", "small"))
    losses = [[record["loss"] for record in history if "loss" in record] for history in (whole, small)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ends = [[record["validation_loss"] for record in h if "validation_loss" in record] for h in (whole, small)]
    assert len(ends[0]) == 1
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)
