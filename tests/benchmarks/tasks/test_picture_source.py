from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks.picture_source import local_rows
from tests.real_data import write_lines
from tests.tiny_sdxl import save_pictures


def test_pictures_lie_in_the_folder_or_in_one_of_the_task_s_name(tmp_path: Path) -> None:
    save_pictures(tmp_path / "icons", count=3)
    (tmp_path / "icons" / "README.md").write_text("not a picture")
    for place in (tmp_path, tmp_path / "icons"):
        assert [row["name"] for row in local_rows("icons", place, False)] == ["00.png", "01.jpg", "02.webp"]


def test_captions_are_read_only_where_they_are_wanted(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=2)
    write_lines(
        tmp_path / "metadata.jsonl",
        [{"file_name": "01.jpg", "text": "a blue cup"}, {"file_name": "00.png", "text": "a red cup"}],
    )
    assert [row["prompt"] for row in local_rows("t", tmp_path, True)] == ["a red cup", "a blue cup"]
    assert all("prompt" not in row for row in local_rows("t", tmp_path, False))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [{"file_name": "00.png"}],
            "row 1 of .* has the columns file_name; expected file_name and a text in prompt or",
        ),
        ([{"file_name": "0.png", "text": "a"}], r"about '0\.png', which is no picture in .*, did you mean '00\.png'"),
        ([{"file_name": "00.png", "text": "a"}], r"has no caption for 01\.jpg; expected one for every picture"),
    ],
)
def test_captions_that_do_not_fit_are_refused(tmp_path: Path, lines: list[Any], message: str) -> None:
    save_pictures(tmp_path, count=2)
    write_lines(tmp_path / "metadata.jsonl", lines)
    with pytest.raises(UsageError, match=message):
        local_rows("t", tmp_path, True)


def test_no_folder_and_no_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no picture; t reads \.png, \.jpg, \.jpeg, \.webp files"):
        local_rows("t", tmp_path, False)
    with pytest.raises(UsageError, match="is no folder; t reads a folder of pictures"):
        local_rows("t", tmp_path / "none", False)
