"""Resuming in the middle of a run, at the level of `train`: every method on a tiny model, over several epochs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.checkpoints import CheckpointCallback, CheckpointPolicy, Checkpoints, sizes, stored_identity
from benchmarks.loading import load_options, open_model
from benchmarks.spec import RunSpec
from benchmarks.tasks import create_task
from benchmarks.training import TrainedRun, rows_before, train
from bilora import method_names
from tests.benchmarks.test_spec import SPEC
from tests.models import save_tiny_model

EVERY = CheckpointPolicy(steps=1, seconds=None)
IDENTITY = {"key": "k"}
# Rows of one training set of ten: three steps an epoch, the last of two rows.
ROWS, BATCH, STEPS = 10, 4, 8
RUN = replace(
    SPEC, options={}, steps=STEPS, batch_size=BATCH, micro_batch_size=2, measurement=None, evaluations=4, rank=2,
    learning_rate=1e-2, evaluation_examples=4, dropout=0.1,
)  # fmt: skip
#: Fast ones of different kinds; the others are slow tests.
FEW = ("bilora", "lora-sam")


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def trained(spec: RunSpec, model: Path, folder: Path, *, kill_at: int | None = None) -> TrainedRun:
    task = create_task(spec.task)
    found, architecture = open_model(model, device=torch.device("cpu"), options=load_options(spec, labels=0))
    rows = architecture.rows(task, task.examples("train")[:ROWS])

    def update(fraction: float, note: str) -> None:
        if kill_at is not None and round(fraction * spec.steps) == kill_at:
            raise Killed

    checkpoints = Checkpoints(folder, EVERY, identity=IDENTITY)
    return train(
        spec, found, architecture=architecture, train_rows=rows, validation_rows=rows, folder=folder, update=update,
        checkpoints=checkpoints,
    )  # fmt: skip


def state(run: TrainedRun) -> dict[str, torch.Tensor]:
    kept = {name: p.detach() for name, p in run.model.named_parameters() if p.requires_grad}
    return kept | run.method.state_dict()


def check_resumed(spec: RunSpec, model: Path, folder: Path, *, kill_at: int = 6) -> None:
    whole = trained(spec, model, folder / "whole")
    with pytest.raises(Killed):
        trained(spec, model, folder / "killed", kill_at=kill_at)
    resumed = trained(spec, model, folder / "killed")
    assert resumed.resumed == (kill_at - 1,)
    expected, found = state(whole), state(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert resumed.history == whole.history
    assert resumed.method.cost == whole.method.cost


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in method_names()])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(name: str, model: Path, tmp_path: Path) -> None:
    check_resumed(replace(RUN, method=name), model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dora", "pissa", "lora-ga", "hira", "delora"])
def test_variants_resume_bit_for_bit(variant: str, model: Path, tmp_path: Path) -> None:
    check_resumed(replace(RUN, method="lora", variant=variant, dropout=0.0), model, tmp_path)


def test_a_run_killed_after_its_last_step_trains_no_further(model: Path, tmp_path: Path) -> None:
    whole = trained(RUN, model, tmp_path / "run")
    again = trained(RUN, model, tmp_path / "run")
    assert again.resumed == (STEPS,)
    assert all(torch.equal(value, state(again)[key]) for key, value in state(whole).items())
    assert again.history == whole.history
    assert len(whole.history) > 0


def test_one_checkpoint_is_kept_and_a_damaged_one_is_not_read(model: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(RUN, model, tmp_path, kill_at=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-4", "state.json"]
    checkpoints = Checkpoints(tmp_path, EVERY, identity=IDENTITY)
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 4
    assert stored_identity(tmp_path) == IDENTITY
    weights = tmp_path / "checkpoint-4" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert checkpoints.latest() is None
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "../../elsewhere"},
        {"checkpoint": "checkpoint-2"},
        {"identity": {"key": "another run"}},
        {"recorder": 1},
        {"step": "x"},
    ],
)
def test_what_the_state_does_not_name_as_it_is_is_not_read(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoint-1").mkdir(parents=True)
    (folder / "checkpoint-1" / "weights").write_text("12345")
    checkpoints = Checkpoints(folder, EVERY, identity=IDENTITY)
    checkpoints.commit(1, recorder={"seconds": []}, seconds=2.0, resumed=())
    content = json.loads((folder / "state.json").read_text())
    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.seconds, found.steps) == (1, 2.0, (1,))
    (folder / "state.json").write_text(json.dumps(content | changes))
    assert checkpoints.latest() is None


def test_checkpoints_take_less_than_a_hundredth_of_the_time(tmp_path: Path) -> None:
    now = [0.0]
    checkpoints = Checkpoints(tmp_path, CheckpointPolicy(), identity=IDENTITY)
    callback = CheckpointCallback(checkpoints, lambda: {}, parameters=1, clock=lambda: now[0])
    arguments, written, spent = SimpleNamespace(logging_steps=1), [], 0.0
    for step in range(1, 3001):
        now[0] += 1.0
        control = SimpleNamespace(should_save=False)
        where = SimpleNamespace(global_step=step, max_steps=10**6)
        callback.on_step_end(arguments, where, control)
        if control.should_save:
            (tmp_path / f"checkpoint-{step}").mkdir()
            now[0] += 2.0  # what writing takes
            spent += 2.0
            callback.on_save(arguments, where, control)
            written.append(step)
    assert written[0] == 60
    assert written[2] - written[1] == 200  # 2 s are a hundredth of it
    assert spent < 0.011 * now[0]


def test_checkpoints_wait_for_a_step_that_is_logged_and_for_room_on_the_disk(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, CheckpointPolicy(steps=1, seconds=None), identity=IDENTITY)
    asked = []
    for parameters in (1, 2**60):
        callback = CheckpointCallback(checkpoints, lambda: {}, parameters=parameters)
        for step in range(1, 8):
            control = SimpleNamespace(should_save=False)
            callback.on_step_end(
                SimpleNamespace(logging_steps=3), SimpleNamespace(global_step=step, max_steps=7), control
            )
            asked.append((parameters, step, control.should_save))
    assert [step for parameters, step, save in asked if save and parameters == 1] == [3, 6, 7]
    assert not any(save for parameters, _, save in asked if parameters > 1)


def test_the_setting_goes_by_time_by_steps_or_is_off() -> None:
    assert CheckpointPolicy.of("90.5s") == CheckpointPolicy(steps=None, seconds=90.5)
    assert CheckpointPolicy.of(20) == CheckpointPolicy(steps=20, seconds=None)
    assert not CheckpointPolicy.of(None).active


def test_the_rows_before_a_step_count_small_last_batches() -> None:
    taken = [row for _ in range(3) for start in range(0, ROWS, BATCH) for row in [min(BATCH, ROWS - start)]]
    for step in range(9):
        assert rows_before(step, rows=ROWS, batch_size=BATCH) == sum(taken[:step])


def test_sizes_are_of_every_file_in_every_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("123")
    assert sizes(tmp_path) == {"a/b/c": 3}
