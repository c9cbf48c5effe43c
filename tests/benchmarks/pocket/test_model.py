from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.models import shipped_models
from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.bases import BASES
from benchmarks.pocket.card import CARD, PICTURE, RECORD, TrainingRecord, write_record
from benchmarks.pocket.corpus import BOS, EOS
from benchmarks.pocket.curricula import ALL_CURRICULA, CURRICULA, draw
from benchmarks.pocket.evaluation import complete, document_loss
from benchmarks.pocket.training import CurvePoint

LLAMA = POCKET_MODELS / "pocket-llama"
#: A curriculum by which a base is checked to answer as its record says.
CHECKED = {"pocket-llama": "stories", "pocket-t5": "repairs"}


@pytest.fixture(scope="module", params=[name for name in shipped_models() if name in BASES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str) -> Path:
    return POCKET_MODELS / name


@pytest.fixture(scope="module")
def shipped(name: str, folder: Path) -> tuple[Any, Any]:
    model = BASES[name].model_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def record(folder: Path) -> Any:
    return json.loads((folder / RECORD).read_text())


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(LLAMA, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(LLAMA, local_files_only=True)


def test_weights_are_small_and_in_bf16(shipped: tuple[Any, Any], folder: Path, record: Any) -> None:
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert {weights.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert "lm_head.weight" not in names
    assert (folder / "model.safetensors").stat().st_size < 16 * 2**20
    assert sum(parameter.numel() for parameter in shipped[0].parameters()) == record["parameters"]


def test_loss_on_the_fixed_documents_is_the_recorded_one(name: str, shipped: tuple[Any, Any], record: Any) -> None:
    fixed, made = record["fixed_documents"], BASES[name]
    found = made.held_out_losses(*shipped, list(made.curricula), documents=fixed["documents"], seed=fixed["seed"])
    assert found == pytest.approx(fixed["loss"], abs=2e-3)


def test_held_out_items_are_answered_as_the_record_says(name: str, shipped: tuple[Any, Any], record: Any) -> None:
    source = CHECKED[name]
    items = [draw(source, ALL_CURRICULA[source], index, held_out=True) for index in range(64)]
    answers = complete(*shipped, [item.prompt for item in items], max_new_tokens=72)
    right = sum(answer == item.completion for item, answer in zip(items, answers, strict=True))
    # The recorded share is of the first 256 held-out items, of which these are a quarter.
    assert abs(right / 64 - record["pass_rate"][source]) < 0.1


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


def test_the_llama_solves_held_out_stories(base: tuple[Any, Any]) -> None:
    items = [draw("stories", CURRICULA["stories"], index, held_out=True) for index in range(24)]
    answers = complete(*base, [item.prompt for item in items], max_new_tokens=48)
    right = sum(answer == item.completion for item, answer in zip(items, answers, strict=True))
    assert right >= 22


def test_the_record_and_the_card_leave_nothing_out(name: str, folder: Path, record: Any) -> None:
    losses = [point["loss"] for point in record["curve"]]
    assert len(losses) >= 50
    assert losses[-1] < losses[0] / 2
    assert set(record["held_out_loss"]) == set(BASES[name].shares)
    # Paragraphs have nothing to answer.
    assert {*BASES[name].curricula} - {"sentences"} <= set(record["pass_rate"])
    card = (folder / CARD).read_text()
    assert record["command"] in card
    for value in record["held_out_loss"].values():
        assert f"{value:.4f}" in card
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_card_that_ships_is_made_of_its_record(folder: Path, record: Any, tmp_path: Path) -> None:
    curve = tuple(CurvePoint(**point) for point in record["curve"])
    write_record(tmp_path, TrainingRecord(**{**record, "curve": curve}))
    assert (tmp_path / CARD).read_text() == (folder / CARD).read_text()
    assert json.loads((tmp_path / RECORD).read_text()) == record
