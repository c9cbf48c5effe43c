"""One update, whatever the number of ranks: two gloo processes against one, at the same global batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.on_ranks import on_ranks
from benchmarks.tiny_trainer import GRAPHED, MODES, trained, trainer
from bilora import MethodError, method_names
from bilora.methods.sam import SCOPES
from bilora.shards import whole

# In float64 all that differs is the order in which numbers are added.
ROUNDING = 1e-9
# Its sketches of the gradient are kept in fp32.
NARROW = {"bilora-exact": 5e-5}

Case = tuple[str, str, dict[str, Any]]


def _train_all(cases: list[Case], folder: Path, passes: int) -> list[dict[str, Tensor]]:
    return [_train(case, folder, passes) for case in cases]


def _train(case: Case, folder: Path, passes: int) -> dict[str, Tensor]:
    name, mode, changes = case
    # On a CPU passes are not replayed but run; who averages gradients, and when, is the same.
    with patch("bilora.trainer.refuse_graphs"):
        update, numbers = trained(trainer(name, folder, passes=passes, mode=mode, **changes))
    return update | numbers


def check(cases: list[Case], folder: Path, *, tolerance: float = ROUNDING, passes: int = 1) -> None:
    """Compare every update, and what was logged, with one process that takes twice as many passes a step."""
    both = on_ranks(_train_all, folder, cases, folder, passes)
    wrong = []
    for index, (name, mode, changes) in enumerate(cases):
        expected = _train((name, "ddp", changes), folder, 2 * passes)
        for rank, found in enumerate(both):
            assert found[index].keys() == expected.keys()
            for key, value in expected.items():
                error = float((found[index][key] - value).norm() / value.norm().clamp_min(1e-12))
                if not error <= NARROW.get(name, tolerance):
                    wrong.append((name, mode, rank, key, error))
    assert not wrong, "\n".join(map(str, wrong))


def test_bilora_and_lora_sam_under_ddp(tmp_path: Path) -> None:
    check([(name, mode, {}) for mode in ("ddp", GRAPHED) for name in ("bilora", "lora-sam")], tmp_path)


@pytest.mark.slow
def test_every_method_under_ddp_and_fsdp2(tmp_path: Path) -> None:
    check([(name, mode, {}) for mode in MODES for name in method_names()], tmp_path)


@pytest.mark.slow
def test_accumulation_and_recomputed_activations_over_ranks(tmp_path: Path) -> None:
    """Two micro-batches on each rank; the last of a window alone synchronises."""
    names = ("bilora", "lora-sam", "lora-esam", "flat-lora", "adazo-sam", "rop")
    cases: list[Case] = [(name, mode, {}) for mode in MODES for name in names]
    cases += [(name, GRAPHED, {}) for name in ("bilora", "lora-sam")]
    cases += [(name, mode, {"recomputed": True}) for mode in MODES for name in ("bilora", "lora-sam", "flat-lora")]
    check(cases, tmp_path, passes=2)


def _adversaries(folder: Path) -> tuple[list[dict[str, Tensor]], list[str]]:
    found = [
        _train((name, "ddp", {"options": {"sam_scope": scope}}), folder, 1)
        for name in ("lora-sam", "asam", "gsam", "wsam", "lora-esam")
        for scope in SCOPES[1:]
    ]
    said = []
    for name, mode in (("fsam", "ddp"), ("lora-sam", "fsdp2")):
        with pytest.raises(MethodError) as refused:
            _train((name, mode, {"options": {"sam_scope": "rank"}}), folder, 1)
        said.append(str(refused.value))
    return found, said


@pytest.mark.slow
def test_an_adversary_of_each_rank_is_one_of_each_micro_batch_in_one_process(tmp_path: Path) -> None:
    """What one process does with a perturbation for each of two micro-batches, two ranks do with one each."""
    names = [name for name in ("lora-sam", "asam", "gsam", "wsam") for _ in SCOPES[1:]]
    for found, said in on_ranks(_adversaries, tmp_path, tmp_path):
        for name, own in zip(names, found, strict=False):
            expected = _train((name, "ddp", {"options": {"sam_scope": "micro-batch"}}), tmp_path, 2)
            for key, value in expected.items():
                # What is logged are one rank's perturbations; updates are those of both.
                if "lora_" in key:
                    assert (own[key] - value).norm() <= ROUNDING * value.norm(), (name, key)
        assert "'fsam': it carries a gradient from step to step" in said[0]
        assert "one copy of the weights" in said[1]


# Adam would turn a gradient's rounding into a part of a step.
NARROW_RUN = {"bf16": True, "dtype": torch.float32, "optim": "sgd", "learning_rate": 0.5}


def _bf16(folder: Path) -> list[dict[str, Tensor]]:
    return [_train((name, mode, NARROW_RUN), folder, 1) for mode in MODES for name in ("bilora", "lora-sam")]


def _exported(folder: Path) -> dict[str, Tensor]:
    run = trainer("bilora", folder, passes=1, mode="fsdp2")
    before = trained(run)[0]
    assert before
    run.method.export(folder / "adapter")
    state = run.method.state_dict()
    run.method.load_state_dict(state)
    again = run.method.state_dict()
    assert all(torch.equal(again[key], value) for key, value in state.items())
    with pytest.raises(MethodError, match="before the model is sharded"):
        run.method.load_adapter(folder / "adapter")
    held = {name: p for name, p in run.model.named_parameters() if ".default." in name}
    return {name: whole(p).clone() for name, p in held.items()}


@pytest.mark.slow
def test_sharded_weights_are_written_whole_by_the_first_rank(tmp_path: Path) -> None:
    for found in on_ranks(_exported, tmp_path, tmp_path):
        written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        assert len(written) == len(found)
        for name, value in found.items():
            assert torch.equal(written[name.replace(".default", "")], value)


@pytest.mark.slow
def test_bf16_autocast_over_ranks(tmp_path: Path) -> None:
    """Sums over ranks move a weight by a rounding of fp32, and with it now and then one of bf16."""
    for found in on_ranks(_bf16, tmp_path, tmp_path):
        for name, own in zip(("bilora", "lora-sam") * len(MODES), found, strict=True):
            expected = _train((name, "ddp", NARROW_RUN), tmp_path, 2)
            names = [key for key in expected if ".default." in key]
            error = torch.stack([(own[key] - expected[key]).norm() for key in names]).norm()
            assert error <= 0.02 * torch.stack([expected[key].norm() for key in names]).norm(), name
