from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.errors import UsageError
from benchmarks.harness import session
from benchmarks.harness.session import plan_scores, prepare, take_scores
from benchmarks.harness.spec import ScoreStore
from benchmarks.harness.subjects import Base, Subject
from tests.adapters import save_adapter
from tests.models import save_tiny_model


class Counting:
    """Counts a model's layers; records which subjects it was asked for."""

    identity = "layers 1"
    harness = "by hand"
    num_fewshot = None
    limit = None

    def __init__(self, name: str = "layers", *, chat_template: bool = False) -> None:
        self.name = name
        self.chat_template = chat_template
        self.prepared = 0
        self.asked: list[str] = []

    def prepare(self) -> None:
        self.prepared += 1

    def run(
        self, model: Any, tokenizer: Any, *, subject: str, folder: Path, on_progress: Callable[[float], None]
    ) -> dict[str, Any]:
        self.asked.append(subject)
        on_progress(1.0)
        return {"tasks": {}, "layers": model.config.num_hidden_layers}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    for number in range(2):
        save_tiny_model(folder / f"base-{number}", seed=number)
        save_adapter(folder / f"adapter-{number}", folder / f"base-{number}")
    return folder


def subjects(place: Path) -> list[Subject]:
    """Alternating between two bases."""
    bases = [Base(source=str(place / f"base-{number}")) for number in range(2)]
    adapters = [Subject(name=f"a{n}", base=base, adapter=place / f"adapter-{n}") for n, base in enumerate(bases)]
    return [*adapters, *(Subject(name=f"b{n}", base=base) for n, base in enumerate(bases))]


def test_each_base_is_loaded_once_whatever_the_order(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Base] = []
    original = session.load_base

    def loading(base: Base, **options: Any) -> Any:
        loads.append(base)
        return original(base, **options)

    monkeypatch.setattr(session, "load_base", loading)
    measure, store = Counting(), ScoreStore(tmp_path)
    jobs = plan_scores(subjects(place), [measure, Counting("again")], dtype="float32", device="cpu")
    assert take_scores(prepare(jobs, store), store, Console()) == 0
    assert [Path(base.source).name for base in loads] == ["base-0", "base-1"]
    assert measure.asked == ["a0", "b0", "a1", "b1"]
    assert measure.prepared == 1
    assert len(store.finished()) == 8
    assert store.record(jobs[0].spec.key)["layers"] == 2


def test_what_is_finished_is_neither_prepared_nor_asked_again(place: Path, tmp_path: Path) -> None:
    store, first = ScoreStore(tmp_path), Counting()
    one = plan_scores(subjects(place)[:1], [first], dtype="float32", device="cpu")
    take_scores(prepare(one, store), store, Console())
    second = Counting()
    jobs = plan_scores(subjects(place)[:1], [second], dtype="float32", device="cpu")
    assert prepare(jobs, store) == []
    assert second.prepared == 0


def test_a_base_that_cannot_be_loaded_costs_its_own_scores(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = session.load_base

    def failing(base: Base, **options: Any) -> Any:
        if base.source.endswith("0"):
            raise MemoryError
        return original(base, **options)

    monkeypatch.setattr(session, "load_base", failing)
    store = ScoreStore(tmp_path)
    jobs = plan_scores(subjects(place), [Counting()], dtype="float32", device="cpu")
    assert take_scores(prepare(jobs, store), store, Console()) == 2
    assert [store.record(key)["spec"]["subject"] for key in store.finished()] == ["a1", "b1"]
    assert capsys.readouterr().err.count("out of memory; lower --batch-size") == 2


def test_a_chat_template_that_is_not_there_is_said_first(place: Path, tmp_path: Path) -> None:
    measure = Counting(chat_template=True)
    jobs = plan_scores(subjects(place), [measure], dtype="float32", device="cpu")
    with pytest.raises(UsageError, match=r"--apply-chat-template: the tokenizer of .*base-0 has no chat template"):
        prepare(jobs, ScoreStore(tmp_path))
    assert measure.prepared == 0


def test_a_hub_name_that_cannot_be_reached_is_refused() -> None:
    subject = Subject(name="base", base=Base(source="nobody/nothing"))
    with pytest.raises(UsageError, match="--model: nobody/nothing cannot be read"):
        plan_scores([subject], [Counting()], dtype="float32", device="cpu")
