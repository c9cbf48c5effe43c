from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.harness.catalogue import Catalogue
from benchmarks.harness.host import load_base
from benchmarks.harness.measures import HarnessOptions, HarnessTask
from benchmarks.harness.subjects import Base
from tests.benchmarks.harness.yaml_tasks import save_choice_task
from tests.models import save_tiny_model


def test_a_task_says_what_determines_it_and_leaves_samples_and_record(tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own")
    catalogue = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path)
    options = HarnessOptions(limit=3, num_fewshot=1, batch_size=2)
    task = HarnessTask("own-choice", catalogue, "lm_eval 0", options)
    assert task.identity == catalogue.identity("own-choice")
    assert (task.harness, task.limit, task.num_fewshot, task.chat_template) == ("lm_eval 0", 3, 1, False)
    base = Base(source=str(save_tiny_model(tmp_path / "base")))
    model, tokenizer = load_base(base, dtype="float32", device=torch.device("cpu"))
    seen: list[float] = []
    found = task.run(model, tokenizer, subject="base", folder=tmp_path, on_progress=seen.append)
    assert found["tasks"]["own-choice"]["examples"] == 3
    assert found["batch_size"] == 2
    assert seen[-1] == 1.0
    assert len((tmp_path / "samples" / "own-choice.jsonl").read_text().splitlines()) == 3
