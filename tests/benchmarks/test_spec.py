from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from benchmarks.spec import RunSpec

SPEC = RunSpec(
    method="bilora",
    variant="lora",
    quantize=None,
    options={"rho": 0.05, "clip": "global"},
    task="pocket-math",
    task_version="1",
    model="pocket-llama",
    model_fingerprint="00ff",
    seed=0,
    steps=10,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=1e-3,
    warmup=0.03,
    weight_decay=0.0,
    max_grad_norm=1.0,
    rank=8,
    alpha=16.0,
    dropout=0.0,
    evaluations=2,
    evaluation_examples=8,
    test_examples=None,
    measurement={"radius": 0.5},
    device="cpu",
)


def changed(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return {**value, "new": 1}
    return 7 if value is None else value + 1


@pytest.mark.parametrize("name", [f.name for f in fields(RunSpec) if f.name not in ("model", "data")])
def test_every_field_changes_the_key(name: str) -> None:
    assert replace(SPEC, **{name: changed(getattr(SPEC, name))}).key != SPEC.key


def test_the_place_of_model_and_data_and_the_order_of_options_do_not() -> None:
    assert replace(SPEC, model="/elsewhere/pocket-llama", data="/elsewhere").key == SPEC.key
    assert replace(SPEC, options={"clip": "global", "rho": 0.05}).key == SPEC.key


def test_keys_from_before_there_were_later_fields_are_kept() -> None:
    later = ("cuda_graphs", "dynamics", "scored", "revision", "dtype", "attention", "gradient_checkpointing")
    later += ("trust_remote_code", "device_map", "target_modules", "chat_template", "max_length", "packing")
    later += ("evaluation_batch_size",)
    content = {name: value for name, value in SPEC.as_dict().items() if name not in ("model", "data", *later)}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert SPEC.key.endswith(digest[:12])


def test_key_is_readable() -> None:
    assert SPEC.key.startswith("pocket-math-bilora-seed0-")
    assert len(SPEC.key.rsplit("-", 1)[1]) == 12
