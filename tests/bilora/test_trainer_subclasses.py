"""The mixin in trainers of other hands: transformers' Seq2SeqTrainer and TRL's SFTTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Seq2SeqTrainer, Seq2SeqTrainingArguments

from bilora import SharpnessMixin
from tests.models import byte_tokenizer
from tests.tiny import as_batch, examples, lora_config, tiny_t5

METHODS = ["lora", "lora-sam", "bilora"]


class Seq2SeqSharpnessTrainer(SharpnessMixin, Seq2SeqTrainer):
    pass


@pytest.mark.parametrize("method", METHODS)
def test_seq2seq_trainer_trains_evaluates_and_generates(method: str, tmp_path: Path) -> None:
    trainer = Seq2SeqSharpnessTrainer(
        tiny_t5(),
        Seq2SeqTrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_steps=8,
            learning_rate=1e-2,
            predict_with_generate=True,
            generation_max_length=5,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        method=method,
        peft_config=lora_config(task_type="SEQ_2_SEQ_LM"),
        train_dataset=examples(8),
        eval_dataset=examples(4, seed=9),
        data_collator=as_batch,
    )
    before = trainer.evaluate(examples(8))["eval_loss"]
    trainer.train()
    assert trainer.evaluate(examples(8))["eval_loss"] < before
    predicted = trainer.predict(examples(4, seed=9)).predictions
    with torch.no_grad(), trainer.method.evaluation():
        rows = as_batch(examples(4, seed=9))
        expected = trainer.model.generate(input_ids=rows["input_ids"], max_length=5)
    assert (torch.from_numpy(predicted)[:, : expected.shape[1]] == expected).all()


# 2026-11: trl 1.16 asks transformers 5.23 by a name that will go in transformers 6.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", METHODS)
def test_trl_sft_trainer(method: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")

    class SharpnessSftTrainer(SharpnessMixin, trl.SFTTrainer):  # type: ignore[misc, name-defined]
        pass

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    rows: list[dict[str, Any]] = [{"prompt": f"{i} plus one is ", "completion": f"{i + 1}"} for i in range(8)]
    trainer = SharpnessSftTrainer(
        model,
        trl.SFTConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_steps=6,
            max_length=64,
            learning_rate=2e-2,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        ),
        method=method,
        peft_config=lora_config(),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert trainer.method.cost.gradients == (12 if method == "lora-sam" else 6)
    if method != "lora":
        assert any(entry.get("perturbation_norm", 0) > 0 for entry in trainer.state.log_history)
