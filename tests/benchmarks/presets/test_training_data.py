from __future__ import annotations

from benchmarks.presets.training_data import TRAINING_DATA, TrainingData
from benchmarks.tasks import DATA_TASKS


def test_steps_are_whole_batches_of_every_epoch() -> None:
    data = TrainingData("hub", 10)
    assert data.steps(epochs=1, batch_size=5) == 2
    assert data.steps(epochs=3, batch_size=4) == 9  # three batches an epoch, the last of two examples
    assert data.steps(epochs=0.5, batch_size=4) == 2


def test_the_paper_s_runs_have_the_steps_of_its_epochs() -> None:
    # By hand: 100,000 / 32 = 3,125 exactly; 51,760 / 128 = 404.4; 8,551 / 32 = 267.2.
    assert TRAINING_DATA["metamathqa"].steps(epochs=2, batch_size=32) == 6250
    assert TRAINING_DATA["alpaca-cleaned"].steps(epochs=3, batch_size=128) == 1215
    assert TRAINING_DATA["glue-cola"].steps(epochs=10, batch_size=32) == 2680


def test_the_tasks_read_the_same_data_sets() -> None:
    for name, task in DATA_TASKS.items():
        source = task.source
        assert TRAINING_DATA[name].hub == "/".join(part for part in (source.hub, source.config) if part)
        assert source.limit in (None, TRAINING_DATA[name].examples)
