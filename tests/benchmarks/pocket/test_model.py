from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.card import CARD, RECORD, TrainingRecord, write_record
from benchmarks.pocket.corpus import BOS, EOS
from benchmarks.pocket.curricula import CURRICULA, draw
from benchmarks.pocket.evaluation import complete, document_loss, held_out_losses
from benchmarks.pocket.training import CurvePoint

FOLDER = POCKET_MODELS / "pocket-llama"


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def record() -> Any:
    return json.loads((FOLDER / RECORD).read_text())


def test_weights_are_small_and_in_bf16(base: tuple[Any, Any], record: Any) -> None:
    with safe_open(FOLDER / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert {weights.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert "lm_head.weight" not in names
    assert (FOLDER / "model.safetensors").stat().st_size < 16 * 2**20
    assert sum(parameter.numel() for parameter in base[0].parameters()) == record["parameters"]


def test_loss_on_the_fixed_documents_is_the_recorded_one(base: tuple[Any, Any], record: Any) -> None:
    fixed = record["fixed_documents"]
    found = held_out_losses(*base, list(CURRICULA), documents=fixed["documents"], seed=fixed["seed"])
    assert found == pytest.approx(fixed["loss"], abs=2e-3)


def test_document_loss_is_the_mean_token_by_token(base: tuple[Any, Any]) -> None:
    model, tokenizer = base
    texts = ["12+5=17", "The cat is red."]
    total, counted = 0.0, 0
    for text in texts:
        tokens = [BOS, *tokenizer(text, add_special_tokens=False)["input_ids"], EOS]
        for end in range(1, len(tokens)):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([tokens[:end]])).logits[0, -1]
            total -= float(logits.log_softmax(-1)[tokens[end]])
            counted += 1
    assert document_loss(model, tokenizer, texts) == pytest.approx(total / counted, rel=1e-4)


def test_the_base_solves_held_out_stories(base: tuple[Any, Any], record: Any) -> None:
    items = [draw("stories", CURRICULA["stories"], index, held_out=True) for index in range(24)]
    answers = complete(*base, [item.prompt for item in items], max_new_tokens=48)
    right = sum(answer == item.completion for item, answer in zip(items, answers, strict=True))
    assert record["pass_rate"]["stories"] > 0.95
    assert right >= 22


def test_the_record_and_the_card_leave_nothing_out(record: Any) -> None:
    losses = [point["loss"] for point in record["curve"]]
    assert len(losses) >= 50
    assert losses[-1] < losses[0] / 2
    assert set(record["held_out_loss"]) == {*CURRICULA, "standard-library"}
    assert set(CURRICULA) <= set(record["pass_rate"])
    card = (FOLDER / "README.md").read_text()
    assert record["command"] in card
    for value in record["held_out_loss"].values():
        assert f"{value:.4f}" in card
    assert (FOLDER / "training_curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_that_ships_is_made_of_its_record(record: Any, tmp_path: Path) -> None:
    curve = tuple(CurvePoint(**point) for point in record["curve"])
    write_record(tmp_path, TrainingRecord(**{**record, "curve": curve}))
    assert (tmp_path / CARD).read_text() == (FOLDER / CARD).read_text()
    assert json.loads((tmp_path / RECORD).read_text()) == record
