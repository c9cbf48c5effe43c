from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import language, training
from benchmarks.loading import load_options, open_model
from benchmarks.spec import RunSpec
from benchmarks.tasks import create_task
from benchmarks.training import TrainedRun, train
from tests.benchmarks.test_spec import SPEC
from tests.models import save_tiny_t5
from tests.real_data import pairs, save_chat_model, save_classifier, write_cola, write_lines

RUN = replace(
    SPEC, method="lora", options={}, steps=2, batch_size=4, measurement=None, evaluations=0, rank=2, learning_rate=1e-2
)


def trained(spec: RunSpec, model: Path, folder: Path) -> TrainedRun:
    task = create_task(spec.task, data=Path(str(spec.data)))
    found, architecture = open_model(
        model, device=torch.device("cpu"), options=load_options(spec, labels=len(task.labels))
    )
    rows = architecture.rows(task, task.examples("train"))
    return train(
        spec,
        found,
        architecture=architecture,
        train_rows=rows,
        validation_rows=rows,
        folder=folder,
        update=lambda fraction, note: None,
    )


def adapter(run: TrainedRun) -> list[torch.Tensor]:
    return [p.detach() for p in run.model.parameters() if p.requires_grad]


@pytest.mark.parametrize("save", [save_classifier, save_tiny_t5, save_chat_model])
def test_the_passes_of_a_step_make_the_mean_of_the_whole_batch(save: Any, tmp_path: Path) -> None:
    """Also where labels are unequally long, or one an example, and the model's own loss knows nothing of the others."""
    model, data = save(tmp_path / "model"), write_cola(tmp_path / "cola")
    spec = replace(RUN, task="glue-cola", data=str(data))
    whole, parts = (trained(replace(spec, micro_batch_size=size), model, tmp_path / str(size)) for size in (4, 1))
    assert len(adapter(whole)) > 10
    for one, other in zip(adapter(whole), adapter(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


def test_packed_rows_are_what_a_step_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_lines(tmp_path / "own.jsonl", pairs(30))
    spec = replace(
        RUN, task="jsonl-own", data=str(data), packing=True, max_length=160, chat_template="none", steps=1, batch_size=2
    )
    seen: list[dict[str, torch.Tensor]] = []
    collate = language.packed_batch

    def watched(rows: Any) -> dict[str, torch.Tensor]:
        seen.append(collate(rows))
        return seen[-1]

    monkeypatch.setattr(language, "packed_batch", watched)
    trained(replace(spec, micro_batch_size=2), save_chat_model(tmp_path / "model"), tmp_path / "run")
    batch = seen[0]
    assert batch["input_ids"].shape == (2, 160)
    assert (batch["position_ids"] == 0).sum() > 2


def test_a_batch_is_not_made_larger_by_gpus_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnTwoGPUs(SimpleNamespace):
        @property
        def n_gpu(self) -> int:
            return int(self._n_gpu)

    monkeypatch.setattr(training, "TrainingArguments", partial(OnTwoGPUs, _n_gpu=2))
    found = training._arguments(replace(RUN, micro_batch_size=2), tmp_path)
    assert (found.n_gpu, found.per_device_train_batch_size * found.gradient_accumulation_steps) == (1, 4)
