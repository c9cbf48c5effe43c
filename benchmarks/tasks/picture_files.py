"""Pictures as files: read with the rotation that a camera noted, and cut to the square that a model is trained on.

As in diffusers' DreamBooth script for SDXL: the shorter side becomes the resolution, the middle is cut out, and the
model is told the original size and where the cut began (Podell et al., arXiv 2307.01952, section 2.2).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.errors import UsageError, one_line

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
#: A file, or the content of one.
Content = Path | bytes


@dataclass(frozen=True, kw_only=True)
class Framed:
    """A picture as a model is given it.

    Attributes:
        pixels: uint8 (3, side, side).
        numbers: Original height and width, top and left of the cut, side and side.
    """

    pixels: NDArray[np.uint8]
    numbers: tuple[int, int, int, int, int, int]


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())


def read_picture(content: Content, *, name: str, flag: str = "--data") -> Image.Image:
    """Return a picture upright and in RGB.

    Args:
        content: The file, or its content.
        name: What it is called in an error.
        flag: The flag that named where it lies, for an error.

    Raises:
        UsageError: If it is no picture, or a broken one.
    """
    try:
        with Image.open(content if isinstance(content, Path) else BytesIO(content)) as opened:
            turned: Image.Image = ImageOps.exif_transpose(opened)
            return turned.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = one_line(error)
        raise UsageError(
            f"{flag}: {name} cannot be read as a picture ({reason}); expected {', '.join(ENDINGS)}, or take it out"
        ) from None


def framed(picture: Image.Image, side: int) -> Framed:
    """Return the middle of a picture whose shorter side was made `side` pixels long."""
    width, height = picture.size
    shorter = min(width, height)
    size = (side * width // shorter, side * height // shorter)
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (max(0, round((length - side) / 2)) for length in size)
    cut = resized.crop((left, top, left + side, top + side))
    pixels = np.asarray(cut, dtype=np.uint8).transpose(2, 0, 1).copy()
    return Framed(pixels=pixels, numbers=(height, width, top, left, side, side))


def content_hash(content: Content) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()
