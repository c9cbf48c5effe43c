"""Small data sets in the columns of published ones, and more tiny models, as users have them in folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TEXTS = ["Ida has three lamps and finds four more.", "How many lamps does she have?", "The answer is: 7"]
#: In the manner of Qwen: marks of their own, white space behind the end, a start that the template writes.
TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few sentences, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    found.chat_template = TEMPLATE
    return found


def save_chat_model(folder: Path, *, layers: int = 1) -> Path:
    """Write a random Llama with a trained tokenizer and a chat template."""
    torch.manual_seed(0)
    tokenizer = chat_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_classifier(folder: Path, *, labels: int = 2) -> Path:
    """Write a random BERT with a head."""
    torch.manual_seed(0)
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = None
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=256,
        num_labels=labels,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def cola_rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"sentence": f"Ida has {n} lamp{'s' * (n % 2)}.", "label": n % 2, "idx": n} for n in range(start, start + count)
    ]


def write_cola(folder: Path, *, train: int = 24, validation: int = 6) -> Path:
    """Write GLUE's CoLA as it lies on the hub."""
    write_lines(folder / "train.jsonl", cola_rows(train))
    write_lines(folder / "validation.jsonl", cola_rows(validation, start=1000))
    return folder


def pairs(count: int) -> list[dict[str, str]]:
    return [{"instruction": f"Add {n} lamps and 4.", "response": f"The answer is: {n + 4}"} for n in range(count)]


def chats(count: int) -> list[dict[str, Any]]:
    roles = ("system", "user", "assistant", "user", "assistant")
    return [
        {"messages": [{"role": r, "content": f"{r} says {n}.{i}"} for i, r in enumerate(roles)]} for n in range(count)
    ]
