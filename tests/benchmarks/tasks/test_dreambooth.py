from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import SPLITS, create_task
from benchmarks.tasks.dreambooth import TESTED, DreamBooth
from tests.tiny_sdxl import picture, save_pictures


def icons(folder: Path) -> DreamBooth:
    found = create_task("dreambooth-3d-icons", data=folder)
    assert isinstance(found, DreamBooth)
    found.check()
    return found


def test_twenty_three_pictures_are_split_into_nineteen_and_twice_two(tmp_path: Path) -> None:
    task = icons(save_pictures(tmp_path, count=23))
    assert [len(task.examples(split)) for split in SPLITS] == [19, 2, 2]
    names = [example.completion for split in SPLITS for example in task.examples(split)]
    assert len(set(names)) == 23
    assert {example.prompt for example in task.examples("train")} == {"a TOK icon, in the style of TOK"}
    assert (task.steps(4), task.published_rows()) == (500, 23)


def test_three_pictures_are_enough_and_two_are_not(tmp_path: Path) -> None:
    assert [len(icons(save_pictures(tmp_path, count=3)).examples(split)) for split in SPLITS] == [1, 1, 1]
    with pytest.raises(UsageError, match="finds 2 pictures; expected at least 3"):
        icons(save_pictures(tmp_path / "two", count=2))


def test_the_split_and_the_key_follow_the_content_and_not_the_names(tmp_path: Path) -> None:
    first = icons(save_pictures(tmp_path / "a"))
    for path in save_pictures(tmp_path / "b").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    second = icons(tmp_path / "b")
    for split in SPLITS:
        assert [f"x{e.completion}" for e in first.examples(split)] == [e.completion for e in second.examples(split)]
    assert first.edition == second.edition
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    picture(99).save(tmp_path / "c" / "00.png")
    assert icons(tmp_path / "c").edition != first.edition


def test_what_is_drawn_is_the_paper_s_two_hundred_times_each_thing_in_turn(tmp_path: Path) -> None:
    task = icons(save_pictures(tmp_path))
    wanted = task.wanted("test")
    assert len(wanted) == 6 * 200
    assert tuple(example.completion for example in wanted[6:12]) == TESTED
    assert wanted[5].prompt == "a ToK icon of a smiling sun, in the style of ToK"
    assert {e.completion for e in task.wanted("validation")}.isdisjoint(TESTED)
    assert {e.prompt for e in task.wanted("train")} == {task.instance_prompt}


def test_methods_without_a_meaning_on_pictures_are_refused(tmp_path: Path) -> None:
    task = create_task("dreambooth-3d-icons", data=tmp_path)
    assert task.refusal(method="bilora", variant="lora", quantize=None) is None
    assert "4" in str(task.refusal(method="bilora", variant="lora", quantize="nf4"))
    assert "logits" in str(task.refusal(method="rop", variant="lora", quantize=None))
    with pytest.raises(NotImplementedError):
        task.score(icons(save_pictures(tmp_path)).wanted("test")[0], "a text")


def test_the_hub_s_pictures_are_read_with_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    files = sorted(save_pictures(tmp_path).iterdir())
    table = datasets.Dataset.from_dict({"image": [str(path) for path in files], "prompt": ["p"] * len(files)})
    table = table.cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", Mock(return_value=table))

    class OnTheHub(DreamBooth):
        """Examples are kept by class; these are not to be met elsewhere."""

    hub = OnTheHub(None)
    local = icons(tmp_path)
    for split in SPLITS:
        assert len(hub.examples(split)) == len(local.examples(split))
    assert hub.fingerprint() == local.fingerprint()
    hub.check()


def test_the_hub_out_of_reach_says_where_local_pictures_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", Mock(side_effect=ConnectionError("offline")))
    with pytest.raises(UsageError, match=r"reads the pictures of linoyts/3d_icon .* --data FOLDER .* \.png, ") as error:
        DreamBooth(None).read()
    assert "FOLDER/dreambooth-3d-icons" in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(datasets, "load_dataset", Mock(return_value=datasets.Dataset.from_dict({"text": ["a"]})))
    with pytest.raises(UsageError, match="has the columns text; dreambooth-3d-icons expects image"):
        DreamBooth(None).read()
