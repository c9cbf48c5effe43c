from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn

from analysis import Objective, parameter_space, worst_case
from analysis.losses import causal_lm_loss
from benchmarks.compare import main
from benchmarks.loading import LoadOptions, open_model
from benchmarks.run import MEASUREMENT_BATCH
from benchmarks.tasks import create_task
from benchmarks.widening import widen
from tests.models import save_tiny_model
from tests.real_data import pairs, write_lines


def test_sixteen_bits_become_thirty_two_and_nothing_else_changes() -> None:
    model = nn.Sequential(nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2).double(), nn.BatchNorm1d(2).half())
    model[1].compute_dtype = torch.bfloat16  # as bitsandbytes' layers have it
    before = [(t.dtype, t.clone()) for t in (*model.parameters(), *model.buffers())]
    widen(model)
    assert model[1].compute_dtype == torch.float32
    for (dtype, old), new in zip(before, (*model.parameters(), *model.buffers()), strict=True):
        narrow = dtype in (torch.bfloat16, torch.float16)
        assert new.dtype == (torch.float32 if narrow else dtype)
        assert torch.equal(new.detach(), old.detach().to(new.dtype))


def test_a_run_in_bfloat16_is_measured_as_the_same_weights_are_in_float32(tmp_path: Path) -> None:
    model, data = save_tiny_model(tmp_path / "model"), write_lines(tmp_path / "own.jsonl", pairs(30))
    arguments = ["--model", str(model), "--tasks", f"jsonl:{data}", "--methods", "bilora", "--dtype", "bfloat16"]
    arguments += ["--steps", "2", "--batch-size", "2", "--evaluations", "0", "--test-examples", "2", "--rank", "2"]
    arguments += ["--measure-examples", "4", "--spaces", "full", "--device", "cpu", "--learning-rate", "0.01"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    (run,) = (tmp_path / "out" / "runs").iterdir()
    record: dict[str, Any] = json.loads((run / "measurement.json").read_text())

    options = LoadOptions(dtype="bfloat16")
    base, architecture = open_model(model, device=torch.device("cpu"), options=options)
    adapted = PeftModel.from_pretrained(base.float(), str(run / "adapter")).eval()
    task = create_task(f"jsonl:{data}")
    rows = architecture.rows(task, task.examples("train"))[:4]
    objective = Objective(adapted, list(architecture.batches(rows, size=MEASUREMENT_BATCH)), loss=causal_lm_loss)
    assert record["loss"] == pytest.approx(objective.value(), rel=1e-5)
    space = parameter_space(adapted, "full")
    found = worst_case(objective, space, radius=record["settings"]["radius"])
    assert record["spaces"]["full"]["worst_case"]["increase"] == pytest.approx(found.increase, rel=0.05)
