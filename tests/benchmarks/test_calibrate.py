from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import calibrate
from benchmarks.tasks import Example, create_task
from benchmarks.tasks.pocket_nlu_paraphrase import PocketNluParaphrase
from tests.models import save_tiny_model, save_tiny_t5


def arguments(folder: Path, *more: str) -> list[str]:
    task = ["--task", "pocket-nlu-paraphrase", "--model", str(folder / "model"), "--out", str(folder / "c.json")]
    return [*task, "--device", "cpu", "--steps", "2,3", "--learning-rates", "0.01", "--examples", "4", *more]


def test_every_setting_is_trained_and_recorded_and_the_test_split_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_t5(tmp_path / "model")
    read: list[Any] = []
    examples = PocketNluParaphrase.examples

    def noted(task: PocketNluParaphrase, split: Any) -> tuple[Example, ...]:
        read.append(split)
        return examples(task, split)

    hashed = create_task("pocket-nlu-paraphrase").fingerprint()
    monkeypatch.setattr(PocketNluParaphrase, "fingerprint", lambda task: hashed)
    monkeypatch.setattr(PocketNluParaphrase, "examples", noted)
    assert calibrate.main(arguments(tmp_path, "--seeds", "2")) == 0
    assert set(read) == {"train", "validation"}
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["task_hash"] == hashed
    assert [(run["steps"], run["seed"]) for run in record["runs"]] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert len({run["validation_loss"] for run in record["runs"]}) == 4
    assert capsys.readouterr().out.count("validation outside 25 to 85 %") == 4


def test_every_turn_of_a_dialogue_is_trained_as_in_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TrainedEnoughError(Exception):
        pass

    def train(*_: Any, train_rows: list[Any], **__: Any) -> Any:
        assert len(train_rows) == 2 * len(create_task("pocket-chat").examples("train"))
        raise TrainedEnoughError

    save_tiny_model(tmp_path / "model")
    monkeypatch.setattr(calibrate, "train", train)
    with pytest.raises(TrainedEnoughError):
        calibrate.main(arguments(tmp_path, "--task", "pocket-chat"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--task", "pocket-nlu"], "--task: unknown task 'pocket-nlu'"),
        (["--steps", "0"], "--steps: found '0'"),
        (["--learning-rates", "x"], "--learning-rates: found 'x'"),
        (["--out", "nowhere/c.json"], "--out: the folder of nowhere/c.json does not exist"),
        (["--method", "bilora"], "unrecognized arguments: --method bilora"),
    ],
)
def test_bad_input_is_one_line(
    changes: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    capsys.readouterr()
    assert calibrate.main(arguments(tmp_path, *changes)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
