"""Models and data as users bring them, through the whole command and without a network: small ones of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from benchmarks import compare
from benchmarks.tasks.instruction_sets import MetaMathQA
from tests.models import save_tiny_t5
from tests.real_data import chats, pairs, save_chat_model, save_classifier, write_cola, write_lines


def run(folder: Path, model: Path, task: str, *more: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compare two methods for three steps; returns the results and the conventions."""
    flags = ["--model", str(model), "--tasks", task, "--out", str(folder / "out"), "--device", "cpu", "--threads", "1"]
    flags += ["--steps", "3", "--batch-size", "4", "--evaluations", "1", "--evaluation-examples", "4"]
    flags += ["--test-examples", "4", "--measure-examples", "4", "--max-products", "30", "--methods", "lora,bilora"]
    assert compare.main([*flags, *more]) == 0
    table = pd.read_csv(folder / "out" / "results.csv")
    assert table["method"].tolist() == ["lora", "bilora"]
    return table, json.loads((folder / "out" / "comparison.json").read_text())["conventions"]


def record(folder: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next((folder / "out" / "runs").glob(f"*-{method}-seed0-*/run.json")).read_text())
    return found


def test_chats_by_a_models_own_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_lines(tmp_path / "chats.jsonl", chats(24))
    table, said = run(tmp_path, save_chat_model(tmp_path / "model"), f"jsonl:{data}", "--max-length", "200")
    assert said["Prompts"] == "Prompts of jsonl-chats are written by the model's own chat template."
    assert said["Prompts"] in capsys.readouterr().out
    assert table["metric"].unique().tolist() == ["inverse perplexity"]
    assert table["score"].between(0.001, 0.01).all()  # a random model over 320 tokens
    assert table["lambda_max_full"].notna().all()


def test_instructions_of_the_users_own_packed_in_16_bits_with_checkpointing(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "own.jsonl", pairs(40))
    flags = ("--packing", "true", "--max-length", "128", "--dtype", "bfloat16", "--gradient-checkpointing", "true")
    flags += ("--chat-template", "none", "--target-modules", "q_proj,v_proj", "--measure", "false")
    table, said = run(tmp_path, save_chat_model(tmp_path / "model"), f"jsonl:{data}", *flags)
    assert said["Prompts"].endswith("for jsonl-own, as --chat-template none asks.")
    assert table["eval_loss"].between(4, 7).all()
    found = record(tmp_path, "bilora")
    assert found["spec"]["packing"] is True
    assert found["spec"]["data"] == str(data)
    config = json.loads(next((tmp_path / "out" / "runs").glob("*-lora-*/adapter/adapter_config.json")).read_text())
    assert sorted(config["target_modules"]) == ["q_proj", "v_proj"]


def test_t5_on_colas_columns(tmp_path: Path) -> None:
    write_cola(tmp_path / "data" / "glue-cola")
    table, said = run(tmp_path, save_tiny_t5(tmp_path / "model"), "glue-cola", "--data", str(tmp_path / "data"))
    assert table["metric"].unique().tolist() == ["Matthews correlation"]
    assert "Prompts" not in said
    assert "Bi-LoRA paper's" in said["Pairing"]


def test_a_classifier_trains_its_head_beside_the_adapter(tmp_path: Path) -> None:
    data, model = write_cola(tmp_path / "data"), save_classifier(tmp_path / "model")
    table, _ = run(tmp_path, model, "glue-cola", "--data", str(data), "--micro-batch-size", "2", "--rank", "2")
    assert table["loss_kind"].unique().tolist() == ["example"]
    assert table["eval_loss"].between(0.3, 1.5).all()
    adapter = next((tmp_path / "out" / "runs").glob("*-bilora-*/adapter"))
    base = AutoModelForSequenceClassification.from_pretrained(model)
    tuned = PeftModel.from_pretrained(base, adapter)
    assert (
        tuned.base_model.model.classifier.modules_to_save["default"].weight != base.classifier.original_module.weight
    ).any()
    assert "nats per example" in (tmp_path / "out" / "report" / "index.html").read_text()


def test_a_decoder_on_metamath_is_scored_by_its_final_answers_in_4_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetaMathQA, "recipe", replace(MetaMathQA.recipe, max_new_tokens=12))
    rows = [{"query": f"3 + {n}?", "response": f"We add.\nThe answer is: {n + 3}"} for n in range(30)]
    write_lines(tmp_path / "metamathqa" / "train.jsonl", rows)
    flags = ("--data", str(tmp_path), "--quantize", "nf4", "--measure", "false")
    model = save_chat_model(tmp_path / "model")
    flags_of_run = ["--model", str(model), "--tasks", "metamathqa", "--out", str(tmp_path / "out"), "--steps", "1"]
    flags_of_run += [
        "--methods",
        "lora,bilora",
        "--test-examples",
        "1",
        "--evaluation-examples",
        "1",
        "--device",
        "cpu",
    ]
    assert compare.main([*flags_of_run, *flags, "--evaluations", "0", "--batch-size", "2"]) == 0
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["method"].tolist() == ["qlora", "bi-qlora"]
    assert table["metric"].unique().tolist() == ["exact match"]
