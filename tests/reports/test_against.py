"""Two stores compared: pairing, noise, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.against import Change, build_changes
from reports.against_table import against_sentence, against_table
from reports.fields import RunStoreError
from reports.render import main, render
from reports.store import load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def edit(folder: Path, method: str, seed: int, score: float | None = None, prompt: str | None = None) -> None:
    """Give all examples of a run one score, or another prompt."""
    run = folder / "runs" / f"{method}-{TASK}-s{seed}"
    examples = json.loads((run / "examples.json").read_text())
    record = json.loads((run / "run.json").read_text())
    if score is not None:
        examples = [example | {"score": score} for example in examples]
        record["row"]["score"] = score
    if prompt is not None:
        examples = [example | {"prompt": prompt} for example in examples]
    (run / "examples.json").write_text(json.dumps(examples))
    (run / "run.json").write_text(json.dumps(record))


@pytest.fixture
def two(make_store: MakeStore) -> tuple[Path, Path]:
    options = {"seeds": (0, 1, 2), "count": 60}
    return make_store("here", **options), make_store("there", **options)


def changes(two: tuple[Path, Path]) -> dict[str, Change]:
    return {change.method: change for change in build_changes(load_store(two[0]), load_store(two[1]))}


def test_equal_stores_are_identical(two: tuple[Path, Path]) -> None:
    found = changes(two)
    assert {change.verdict for change in found.values()} == {"identical"}
    assert all(change.score is not None and change.score.value == 0.0 for change in found.values())
    assert against_sentence(tuple(found.values())) == (
        "Three scores compared: no change beyond noise, no changes within noise, 3 identical."
    )


def test_a_large_change_is_beyond_noise_and_its_interval_is_students(two: tuple[Path, Path]) -> None:
    here, there = (0.9, 0.92, 0.91), (0.3, 0.34, 0.29)
    for seed in range(3):
        edit(two[0], "bilora", seed, score=here[seed])
        edit(two[1], "bilora", seed, score=there[seed])
    found = changes(two)["bilora"]
    assert (found.verdict, found.how) == ("higher, beyond noise", "paired")
    assert found.score is not None
    expected = stats.ttest_1samp(np.subtract(here, there), 0.0)
    low, high = expected.confidence_interval(0.95)
    assert (found.score.low, found.score.high) == (pytest.approx(low), pytest.approx(high))
    # Holm: the smallest of three probabilities counts three times.
    assert found.adjusted == pytest.approx(3 * expected.pvalue, rel=1e-5)
    assert "one change beyond noise (Bi-LoRA on pocket-math higher)" in against_sentence(tuple(changes(two).values()))


def test_other_test_examples_are_compared_by_their_means(two: tuple[Path, Path]) -> None:
    here, there = (0.5, 0.56, 0.53), (0.5, 0.41, 0.6)
    for seed in range(3):
        edit(two[0], "lora", seed, score=here[seed], prompt="another question")
        edit(two[1], "lora", seed, score=there[seed])
    found = changes(two)["lora"]
    assert (found.how, found.verdict) == ("unpaired", "within noise")
    assert found.score is not None
    welch = stats.ttest_ind(here, there, equal_var=False)
    assert found.score.probability == pytest.approx(welch.pvalue, rel=1e-6)


def test_what_only_one_store_has_is_a_hole_with_the_reason(make_store: MakeStore) -> None:
    two = make_store("here", seeds=(0, 1), count=20), make_store("there", seeds=(0, 1), count=20, failed=("bilora",))
    for seed in (0, 1):
        path = two[1] / "runs" / f"bilora-{TASK}-s{seed}"
        if path.exists():
            path.rename(two[1] / f"moved-{seed}")
    found = changes(two)["bilora"]
    assert (found.verdict, found.reason) == ("not compared", "no run in the other store")
    table = against_table(tuple(changes(two).values()), "there")
    line = next(line for line in table.groups[0].lines if line.method == "bilora")
    assert [cell.reason for cell in line.cells[1:4]] == ["no run in the other store"] * 3


def test_other_settings_are_named(two: tuple[Path, Path]) -> None:
    for seed in range(3):
        path = two[0] / "runs" / f"bilora-{TASK}-s{seed}" / "run.json"
        record = json.loads(path.read_text())
        record["spec"]["options"] = {"rho": 0.1}
        path.write_text(json.dumps(record))
    assert changes(two)["bilora"].settings == "rho = 0.1"
    assert changes(two)["lora"].settings == ""


def test_the_command_says_it_and_shows_it(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(two[0]), "--out", str(tmp_path / "out"), "--against", str(two[1])]) == 0
    assert f"reports.render: against {two[1]}: Three scores compared" in capsys.readouterr().err
    assert "Changes against there." in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "tables" / "against.tex").is_file()
    with pytest.raises(RunStoreError, match="no folder"):
        render(two[0], tmp_path / "out", against=tmp_path / "nowhere")


def test_a_single_shared_seed_has_a_difference_without_an_interval(make_store: MakeStore) -> None:
    two = make_store("here", count=60), make_store("there", seeds=(0, 1), count=60)
    edit(two[0], "lora", 0, score=0.75)
    edit(two[1], "lora", 0, score=0.5)
    found = changes(two)
    assert (found["lora"].score, found["lora"].bare, found["lora"].verdict) == (None, 0.25, "not compared")
    table = against_table(tuple(found.values()), "there")
    cell = table.groups[0].lines[0].cells[2]
    assert (cell.text, cell.detail) == ("+25.0", "one shared seed, no interval")
    assert table.notes[0] == (
        "No score could be compared. Of three methods one seed is shared, whose difference has no interval."
    )


def test_tasks_that_only_the_other_store_has_are_named_not_listed(make_store: MakeStore) -> None:
    two = make_store("here", count=20), make_store("there", tasks=(TASK, "pocket-code"), count=20)
    table = against_table(build_changes(*map(load_store, two)), "there")
    assert [group.title for group in table.groups] == [TASK]
    assert table.notes[-1] == "Only in there: pocket-code."
    back = against_table(build_changes(*map(load_store, two[::-1])), "here")
    assert [group.title for group in back.groups] == [TASK, "pocket-code"]
