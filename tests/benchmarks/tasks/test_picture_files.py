from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import UsageError
from benchmarks.tasks.picture_files import content_hash, framed, picture_files, read_picture
from tests.tiny_sdxl import picture


def test_the_middle_is_cut_and_the_model_is_told(tmp_path: Path) -> None:
    stripes = np.zeros((20, 60, 3), dtype=np.uint8)
    stripes[:, 20:40] = 255
    found = framed(Image.fromarray(stripes), 10)
    assert found.pixels.shape == (3, 10, 10)
    # Twenty pixels became ten; the cut began at (30 - 10) / 2.
    assert found.numbers == (20, 60, 0, 10, 10, 10)
    assert (found.pixels[:, :, 1:-1] == 255).all()
    assert found.pixels.min() > 200
    tall = framed(picture(0, width=20, height=30), 16)
    assert tall.numbers == (30, 20, 4, 0, 16, 16)


def test_a_picture_of_its_size_is_left_as_it_is() -> None:
    own = picture(1, width=16, height=16)
    assert np.array_equal(framed(own, 16).pixels, np.asarray(own).transpose(2, 0, 1))


def test_the_rotation_that_a_camera_noted_is_followed(tmp_path: Path) -> None:
    turned = Image.new("RGB", (4, 8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg", name="a").size == (8, 4)


def test_a_file_and_its_content_are_the_same_picture(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG"):
        picture(2).save(tmp_path / name)
    assert [path.name for path in picture_files(tmp_path)] == ["a.JPG", "b.png"]
    content = (tmp_path / "b.png").read_bytes()
    assert content_hash(content) == content_hash(tmp_path / "b.png")
    assert np.array_equal(read_picture(content, name="b"), read_picture(tmp_path / "b.png", name="b"))


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    stream = BytesIO()
    picture(3, width=64, height=64).save(stream, format="PNG")
    for broken in (b"no picture at all", stream.getvalue()[:60]):
        (tmp_path / "x.png").write_bytes(broken)
        with pytest.raises(UsageError, match=r"x\.png cannot be read as a picture") as error:
            read_picture(tmp_path / "x.png", name="x.png")
        assert "\n" not in str(error.value)
