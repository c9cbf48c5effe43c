"""Comparisons that several workers carry out, some of which are killed: the results are those of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import compare
from tests.models import save_tiny_model

TIMINGS = ["step_seconds", "step_gradients", "peak_memory_bytes"]
PATIENCE = 240.0
pytestmark = pytest.mark.slow


def arguments(folder: Path, out: str, *more: str) -> list[str]:
    """Three runs of some seconds each, with a checkpoint every other step."""
    return [
        *("--model", str(folder / "model"), "--out", str(folder / out), "--device", "cpu", "--threads", "1"),
        *("--methods", "lora,bilora,lora-sam", "--steps", "200", "--batch-size", "4", "--learning-rate", "0.01"),
        *("--evaluations", "0", "--evaluation-examples", "4", "--test-examples", "4", "--measure", "false"),
        *("--checkpoint-every", "2", *more),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process has carried out everything, in `one`."""
    folder = tmp_path_factory.mktemp("executors")
    save_tiny_model(folder / "model")
    assert compare.main(arguments(folder, "one")) == 0
    return folder


def assert_same(folder: Path, out: str) -> None:
    tables = [pd.read_csv(folder / name / "results.csv").drop(columns=TIMINGS) for name in ("one", out)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for name in ("examples.json", "history.json"):
        for path in sorted((folder / "one" / "runs").glob(f"*/{name}")):
            found = json.loads((folder / out / "runs" / path.parent.name / name).read_text())
            assert without_times(found) == without_times(json.loads(path.read_text()))


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(entry) for name, entry in value.items() if "second" not in name}
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


def assert_clean(out: Path) -> None:
    left = [*out.glob("runs/.unfinished-*"), *out.glob("locks/*"), *out.glob(".*.partial")]
    assert left == []


def started(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.compare", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_training(out: Path) -> tuple[str, int]:
    """Wait for a run with a checkpoint; returns its key and the process that has its lock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for state in out.glob("checkpoints/*/state.json"):
            key = state.parent.name
            try:
                return key, int((out / "locks" / key).read_text().split()[1])
            except (OSError, IndexError, ValueError):
                continue
        time.sleep(0.01)
    raise AssertionError("no run has begun")


def resumed(folder: Path, out: str, key: str) -> list[int]:
    found: list[int] = json.loads((folder / out / "runs" / key / "run.json").read_text()).get("resumed", [])
    return found


def test_a_killed_worker_s_run_goes_on_from_its_checkpoint_on_another_worker(folder: Path) -> None:
    command = started(*arguments(folder, "killed", "--executor", "local", "--workers", "2"))
    key, process = in_training(folder / "killed")
    os.kill(process, signal.SIGKILL)
    shown, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, errors
    assert "was lost: it was ended by SIGKILL" in errors
    assert f"run {key} is tried again" in errors
    assert resumed(folder, "killed", key)
    assert "2 workers had a run at work" in shown
    assert_same(folder, "killed")
    assert_clean(folder / "killed")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_grid_is_clean_and_the_same_command_goes_on(folder: Path, sent: signal.Signals) -> None:
    out = f"interrupted-{sent.name}"
    asked = arguments(folder, out, "--executor", "local", "--workers", "2")
    command = started(*asked)
    _, process = in_training(folder / out)
    command.send_signal(sent)
    _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130
    assert "interrupted; finished runs are kept" in errors
    assert not Path(f"/proc/{process}").exists()
    assert_clean(folder / out)
    assert not (folder / out / "failed").exists()
    assert compare.main(asked) == 0
    assert_same(folder, out)


def test_two_commands_over_one_folder_share_the_runs(folder: Path) -> None:
    asked = arguments(folder, "shared", "--executor", "local")
    commands = [started(*asked) for _ in range(2)]
    ended = [command.communicate(timeout=PATIENCE) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], ended
    assert_same(folder, "shared")
    assert_clean(folder / "shared")
    # Each run was begun by one worker: what the other found finished it did not train.
    logs = "".join(path.read_text() for path in (folder / "shared" / "workers").glob("*.log"))
    assert logs.count(": training") == 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without places, to which nodes can be added."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'bilora[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    found.shutdown()


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_a_lost_node_s_run_is_done_on_another_node(
    folder: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    out, codes = folder / "ray", []
    asked = arguments(folder, "ray", "--executor", "ray", "--ray-address", cluster.address)
    command = threading.Thread(target=lambda: codes.append(compare.main(asked)))
    command.start()
    key, process = in_training(out)
    # The node whose worker has the run's lock: its raylet is the worker's parent.
    raylet = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    lost = next(node for node in nodes if node.all_processes["raylet"][0].process.pid == raylet)
    cluster.remove_node(lost, allow_graceful=False)
    command.join(timeout=PATIENCE)
    errors = capsys.readouterr().err
    assert codes == [0], errors
    assert f"run {key} is tried again" in errors
    assert resumed(folder, "ray", key)
    assert_same(folder, "ray")
    assert_clean(out)
    assert compare.main(asked) == 0  # the cluster can be joined again, and nothing is done again
    assert "3 of 3 runs are finished already and kept" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_a_node_does_not_see_is_refused_before_any_run(
    folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.add_node(num_cpus=1)
    # What the driver writes is not what the node sees.
    asked = arguments(folder, "unseen", "--executor", "ray", "--ray-address", cluster.address)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_, **__: 0)
        assert compare.main(asked) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: --out: ")
    assert "is not what node" in errors
    assert "a folder that all nodes share" in errors
    assert not list((folder / "unseen" / "runs").iterdir())
