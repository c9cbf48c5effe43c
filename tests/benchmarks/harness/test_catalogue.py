from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.harness import catalogue
from benchmarks.harness.catalogue import Catalogue, check_installed
from tests.benchmarks.harness.yaml_tasks import save_choice_task, save_yaml_task


def test_own_tasks_come_before_pocket_tasks_and_need_no_stock_names(tmp_path: Path) -> None:
    save_choice_task(tmp_path / "own", "pocket-math")
    found = Catalogue(["pocket-math", "pocket-code"], include=[tmp_path / "own"], pocket_folder=tmp_path / "pocket")
    loaded = found.load("pocket-math", unsafe=False)
    assert loaded["tasks"]["pocket-math"].OUTPUT_TYPE == "multiple_choice"
    assert not (tmp_path / "pocket" / "pocket-math.yaml").exists()
    assert (tmp_path / "pocket" / "pocket-code.yaml").is_file()
    assert "gsm8k" not in found._manager.all_tasks


def test_the_identity_of_an_own_task_is_that_of_its_files(tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own")

    def identity() -> str:
        return Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path).identity("own-choice")

    first = identity()
    assert identity() == first
    data = folder / "own-choice.jsonl"
    data.write_text(data.read_text().replace("sun", "sum"))
    second = identity()
    save_choice_task(folder, doc_to_choice=["left", "right"])
    assert len({first, second, identity()}) == 3


def test_bad_names_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--include-path: .*none is not a folder"):
        Catalogue(["own"], include=[tmp_path / "none"], pocket_folder=tmp_path)
    with pytest.raises(UsageError, match=r"^--score: pocket-chat cannot be an lm-eval task"):
        Catalogue(["pocket-chat"], include=[], pocket_folder=tmp_path, flag="--score")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_unknown_names_are_answered_with_the_nearest_ones(tmp_path: Path) -> None:
    """Reads all names that the harness ships."""
    with pytest.raises(UsageError, match=r"^--tasks: unknown task 'gsm9k', nearest: gsm8k"):
        Catalogue(["gsm9k"], include=[], pocket_folder=tmp_path)


@pytest.mark.slow
def test_stock_tasks_whose_data_are_not_here_are_refused_with_the_way_on(tmp_path: Path) -> None:
    """HumanEval gets as far as its data: the metric that it wants from the hub is the sandboxed one."""
    found = Catalogue(["gsm8k", "humaneval"], include=[], pocket_folder=tmp_path)
    assert found.identity("gsm8k") == "gsm8k"
    for name in ("gsm8k", "humaneval"):
        with pytest.raises(UsageError, match=rf"--tasks: the data of {name} are neither in the cache .*HF_HOME"):
            found.load(name, unsafe=True)


def test_missing_local_data_are_said(tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own")
    (folder / "own-choice.jsonl").unlink()
    found = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path)
    with pytest.raises(UsageError, match=r"own-choice.*own-choice\.jsonl"):
        found.load("own-choice", unsafe=False)


def test_a_task_at_fault_is_one_line(tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own", output_type="telepathy")
    found = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path)
    with pytest.raises(UsageError, match=r"own-choice cannot be loaded: ValueError: .*telepathy") as refused:
        found.load("own-choice", unsafe=False)
    assert "\n" not in str(refused.value)


def test_code_needs_the_flag_and_the_sandbox(tmp_path: Path) -> None:
    rows = [{"prompt": "def f():", "answer": "x"}]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "metric.py").write_text("def judge(doc, results):\n    return {'acc': eval(results[0])}\n")
    settings: dict[str, Any] = {"unsafe_code": True, "output_type": "generate_until", "doc_to_text": "prompt"}
    folder = save_yaml_task(
        tmp_path / "own", "own-code", rows, doc_to_target="answer", metric_list=[{"metric": "acc"}], **settings
    )
    path = folder / "own-code.yaml"
    path.write_text(path.read_text() + "process_results: !function metric.judge\n")
    found = Catalogue(["own-code"], include=[folder], pocket_folder=tmp_path)
    with pytest.raises(UsageError, match=r"own-code runs what the model writes .* say --confirm-run-unsafe-code"):
        found.load("own-code", unsafe=False)
    with pytest.raises(
        UsageError, match="by functions of its own, outside any sandbox; only tasks that use the metric"
    ):
        found.load("own-code", unsafe=True)
    before = found.identity("own-code")
    (folder / "metric.py").write_text("def judge(doc, results):\n    return {'acc': 1}\n")
    assert Catalogue(["own-code"], include=[folder], pocket_folder=tmp_path).identity("own-code") != before


def test_without_the_harness_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_installed().startswith("lm_eval 0.4")
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"lm-eval is not installed.*pip install 'bilora\[lm-eval\]'"):
        check_installed()
