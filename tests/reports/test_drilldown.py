"""The data that runs unfold to: every number is a stored one, texts stand once, nothing can end the element."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.drilldown import POINTS, run_data
from reports.sections import run_detail
from reports.store import load_store
from tests.reports.test_recorded_figures import record

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def data_of(folder: Path) -> dict[str, Any]:
    store = load_store(folder)
    return json.loads(run_data([run_detail(run) for run in (*store.runs, *store.others)]))


def stored(folder: Path, key: str, name: str) -> Any:
    return json.loads((folder / "runs" / key / f"{name}.json").read_text())


def test_curves_are_the_stored_log_to_four_digits(three_seeds: Path) -> None:
    data = data_of(three_seeds)
    assert len(data["runs"]) == 8
    for key, run in data["runs"].items():
        history = stored(three_seeds, key, "history")
        curves = {name: dict(zip(data["steps"][steps], values, strict=True)) for name, steps, values in run["curves"]}
        assert set(curves) == {"loss", "validation_loss", "train_eval_loss", "grad_norm"}
        for name, curve in curves.items():
            expected = {r["step"]: r[name] for r in history if name in r}
            assert list(curve) == list(expected)
            assert list(curve.values()) == pytest.approx(list(expected.values()), rel=5e-4)
        # A rate that never changes is said once instead of drawn.
        assert run["constant"] == [["learning_rate", "0.001000"]]


def test_a_long_log_keeps_evenly_spaced_records_and_both_ends(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    path = folder / "runs" / f"lora-{TASK}-s0" / "history.json"
    path.write_text(json.dumps([{"step": step, "loss": 1 / step} for step in range(1, 1001)]))
    data = data_of(folder)
    ((_, place, values),) = data["runs"][f"lora-{TASK}-s0"]["curves"]
    steps = data["steps"][place]
    assert len(steps) == len(values) == POINTS
    assert (steps[0], steps[-1]) == (1, 1000)
    assert {b - a for a, b in itertools.pairwise(steps)} <= {16, 17, 18}
    assert values == pytest.approx([1 / step for step in steps], rel=5e-4)


def test_dynamics_have_their_curves(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    (folder / "runs" / f"bilora-{TASK}-s0" / "dynamics.json").write_text(json.dumps(record(0)))
    data = data_of(folder)
    curves = {name: values for name, _, values in data["runs"][f"bilora-{TASK}-s0"]["curves"]}
    assert curves["cosine of primary A to its end"] == [0.8, 0.9, 1]
    assert curves["cosine of auxiliary B to its end"] == [0.25, 0.5]
    assert curves["capture"] == [0.2, 0.4]


def test_settings_environment_results_and_answers_are_the_run_s_own(three_seeds: Path) -> None:
    data = data_of(three_seeds)
    for key, run in data["runs"].items():
        content = stored(three_seeds, key, "run")
        settings = dict(run["settings"]) | dict(data["common"]["settings"])
        assert settings == {
            "method": content["spec"]["method"], "variant": "lora", "options.rho": "0.05", "task": TASK,
            "seed": str(content["spec"]["seed"]), "model": "pocket-llama", "steps": "200", "batch_size": "32",
            "learning_rate": "0.001",
        }  # fmt: skip
        assert dict(run["environment"]) | dict(data["common"]["environment"]) == content["environment"]
        numbers = {n: v for n, v in content["row"].items() if isinstance(v, int | float) and n != "seed"}
        assert {name: float(text) for name, text in run["results"]} == {
            name: pytest.approx(value, rel=1e-5) for name, value in numbers.items()
        }
        assert ["train", "31.0 s"] in run["time"]
        examples = {e["index"]: e for e in stored(three_seeds, key, "examples")}
        assert [answer[1] for answer in run["answers"]] == ["Right", "Right", "Wrong", "Wrong"]
        for index, kind, *places in run["answers"]:
            assert examples[index]["score"] == (kind == "Right")
            shown = [data["texts"][place] for place in places]
            assert shown == [examples[index][name] for name in ("prompt", "reference", "generated")]


def test_what_all_runs_share_stands_once(three_seeds: Path) -> None:
    data = data_of(three_seeds)
    assert len(set(data["texts"])) == len(data["texts"])
    assert ["model", "pocket-llama"] in data["common"]["settings"]
    for run in data["runs"].values():
        assert {name for name, _ in run["settings"]} == {"method", "seed"}
        assert run["environment"] == []
    # The log of every run has the same steps: of the loss and of the evaluations.
    assert len(data["steps"]) == 2


def test_data_cannot_end_the_element_it_stands_in(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    path = folder / "runs" / f"lora-{TASK}-s0" / "examples.json"
    attack = '</script><script>alert("x")</script><!-- & \u2028 '
    path.write_text(json.dumps([e | {"prompt": attack} for e in json.loads(path.read_text())]))
    store = load_store(folder)
    text = run_data([run_detail(run) for run in store.runs])
    assert not {"<", ">", "&"} & set(text)
    assert attack in json.loads(text)["texts"]


def test_files_that_could_not_be_read_are_named(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    (folder / "runs" / f"lora-{TASK}-s0" / "history.json").write_text("[")
    run = data_of(folder)["runs"][f"lora-{TASK}-s0"]
    assert run["curves"] == []
    assert run["problems"] == ["history.json is not valid JSON (line 1): Expecting value"]
