from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import create_task
from benchmarks.tasks.own_pictures import OwnPictures, own_pictures
from tests.real_data import write_lines
from tests.tiny_sdxl import save_pictures


def test_a_broken_picture_is_refused_with_the_flag_that_names_the_folder(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "cups")
    (folder / "broken.png").write_text("junk")
    with pytest.raises(UsageError, match=r"^--tasks: broken\.png cannot be read as a picture"):
        own_pictures(folder).check()


def test_a_folder_is_a_task_of_its_name(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "my cups")
    task = create_task(f"dreambooth:{folder}")
    assert task.name == "dreambooth-my-cups"
    assert {e.prompt for e in task.examples("train")} == {"a picture in the style of TOK"}
    again = create_task(task.name, data=folder)
    assert again.edition == task.edition
    assert isinstance(again, OwnPictures)
    assert again.wanted("test")[0].prompt == "a picture of a fluffy rabbit in the style of TOK"


def test_captions_and_prompts_of_one_s_own_are_used_and_part_of_the_key(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "plain")
    before = own_pictures(folder).edition
    captioned = save_pictures(tmp_path / "captioned")
    names = sorted(path.name for path in captioned.iterdir())
    write_lines(captioned / "metadata.jsonl", [{"file_name": name, "caption": f"cup {name}"} for name in names])
    (captioned / "prompts.txt").write_text("a cup on a moon\n\na cup that sings\n")
    task = own_pictures(captioned)
    assert all(e.prompt == f"cup {e.completion}" for e in task.examples("train"))
    assert [e.prompt for e in task.wanted("test")[:3]] == ["a cup on a moon", "a cup that sings", "a cup on a moon"]
    assert len(task.wanted("test")) == 400
    assert task.edition != before


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dreambooth:.*none is not a folder; expected one with pictures in it"):
        create_task(f"dreambooth:{tmp_path / 'none'}")
