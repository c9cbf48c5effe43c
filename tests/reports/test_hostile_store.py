"""Stores that somebody else wrote, or that were damaged: what the fuzzer found, one test each, and links."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability.stores import write_small_store
from reports.fields import LARGEST_FILE, RunStoreError, number, read_json
from reports.render import render
from reports.run_folder import load_run
from reports.runs import Failure
from reports.store import load_store
from reports.tidy import _storable
from reports.versions import differences


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_small_store(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.sections.draw_task", lambda *args: ())


def change(path: Path, alter: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    alter(content)
    path.write_text(json.dumps(content))


def a_run(store: Path) -> Path:
    return next((store / "runs").glob("*-lora-seed0-*"))


@pytest.mark.parametrize(
    "alter",
    [
        lambda c: c["tuning"][0].update(trials=[]),  # a table without rows
        lambda c: c["tasks"].append("never planned"),
        lambda c: c["planned"][0].update(seed=10**400),
        lambda c: c.update(command="\ud800"),  # half a character
        lambda c: c.update(preset={"name": "x", "published": [{"run": "pocket-math", "measured": "score"}, 1, None]}),
    ],
)
def test_a_damaged_comparison_is_shown_or_refused(alter: Callable[[Any], object], store: Path) -> None:
    change(store / "comparison.json", alter)
    said = ""
    try:
        assert render(store).page.is_file()
    except RunStoreError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("file", "alter"),
    [
        ("run.json", lambda c: c["row"].update(seed=2**63, steps=10**30)),
        ("run.json", lambda c: c["row"].update(score=10**400)),
        ("run.json", lambda c: c.update(failure={"stage": "", "message": ""}, row=c["row"] | {"score": None})),
        ("examples.json", lambda c: c[0].update(prompt="\udfff<script>alert(1)</script>")),
        ("measurement.json", lambda c: c["spaces"]["full"]["slices"].update(alphas=[10**400, 0, 1])),
    ],
)
def test_a_damaged_run_leaves_a_page(file: str, alter: Callable[[Any], object], store: Path) -> None:
    change(a_run(store) / file, alter)
    page = render(store).page.read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" not in page


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x93NUMPY\x01\x00\x10\x00{'descr': (((", b"", b"\x80\x02."])
def test_pictures_that_are_none_are_a_named_fault(content: bytes, store: Path) -> None:
    (a_run(store) / "pictures.npy").write_bytes(content)
    run = load_run(a_run(store))
    assert run.pictures is None
    assert "\n" not in run.faults["pictures.npy"]


def test_a_header_may_claim_more_than_memory_holds(store: Path) -> None:
    path = a_run(store) / "pictures.npy"
    path.write_bytes(path.read_bytes().replace(b"(4, 3, 8, 8)", b"(9999999, 3, 99999, 99999)"))
    assert load_run(a_run(store)).pictures is None


def test_json_is_bounded_in_size_and_depth(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(RunStoreError, match="expected at most"):
        read_json(path)
    path.write_text("[" * 200_000)
    with pytest.raises(RunStoreError, match="nested too deeply"):
        read_json(path)
    path.write_text("1" * 5000)
    with pytest.raises(RunStoreError, match="digits"):
        read_json(path)
    path.write_text('{"a": "\\ud83d\\ude00 \\ud83d", "b\\udead": ["\\ud800"]}')
    assert read_json(path) == {"a": "\U0001f600 \ufffd", "b\ufffd": ["\ufffd"]}
    assert number({"x": 10**400}, "x") is None


def test_a_report_is_not_written_through_a_link(store: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store / "report").symlink_to(outside)
    with pytest.raises(RunStoreError, match="is a link, and a report would be written to where it leads"):
        render(store)
    (store / "report").unlink()
    (store / "report").mkdir()
    (outside / "page").write_text("mine")
    (store / "report" / "index.html").symlink_to(outside / "page")
    render(store)
    assert (outside / "page").read_text() == "mine"
    assert not (store / "report" / "index.html").is_symlink()
    # A folder that was asked for is the caller's own, link or not.
    (tmp_path / "own").symlink_to(outside)
    assert render(store, tmp_path / "own").page.is_file()


def test_a_smaller_micro_batch_is_said(store: Path) -> None:
    runs = load_store(store).runs
    assert runs[0].reduced == (4, 2)
    assert (
        "lora on pocket-math, seed 0, ran out of memory with micro-batches of 4 and was trained with 2, accumulated to "
        "the same batch: the same update up to rounding, another time and memory"
    ) in differences(runs)


def test_a_failure_without_a_message_still_is_a_reason() -> None:
    assert str(Failure(stage="", message="")) == "no reason was recorded"
    assert str(Failure(stage="train", message="")) == "failed in train: no reason was recorded"


def test_numbers_beyond_64_bits_are_left_out() -> None:
    assert _storable(2**63) is None
    assert _storable(-(2**63)) == -(2**63)
    assert _storable("text") == "text"


@pytest.mark.parametrize("pair", [(1e308, -1e308), (5e-324, 1e308), (1e308, 5e-324)])
def test_extreme_numbers_cost_no_more_than_themselves(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, pair: tuple[float, float]
) -> None:
    """Two seeds with opposite extremes in one place: their mean, square or ratio is not finite."""
    monkeypatch.setattr("reports.sections.draw_task", lambda *_: ())
    monkeypatch.setattr("reports.sections.draw_summary", lambda *_: ())
    folder = make_store(seeds=(0, 1))
    for place, value in enumerate(pair):
        for run in (folder / "runs").glob(f"*-s{place}"):
            for name in ("run", "examples", "measurement", "history"):
                tree = json.loads((run / f"{name}.json").read_text())
                if name == "run":
                    tree["row"] |= {"score": value, "step_seconds": value, "step_gradients": value}
                elif name == "examples":
                    tree[0]["score"] = value
                elif name == "history":
                    tree[0]["loss"] = value
                else:
                    for space in tree["spaces"].values():
                        space["top"][0]["value"] = value
                        space["worst_case"]["increase"] = value
                (run / f"{name}.json").write_text(json.dumps(tree))
    page = render(folder).page.read_text()
    assert "nan" not in page
    assert "inf " not in page
