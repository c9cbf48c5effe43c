"""`dreambooth:FOLDER`: a user's own pictures, with no code.

Captions in `metadata.jsonl` are trained on; without it every picture has one prompt with the rare word. What is drawn
stands in `prompts.txt`, one prompt on a line; without it, 3D Icons' six things are drawn in the style. Captions and
prompts that are to draw the style must name it alike.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, cast

from benchmarks.errors import UsageError, one_line
from benchmarks.tasks.base import Split
from benchmarks.tasks.dreambooth import TESTED, DreamBooth

PREFIX = "dreambooth:"
PROMPTS = "prompts.txt"


class OwnPictures(DreamBooth):
    """Pictures of a folder; see `own_pictures`, which names them after it."""

    name: ClassVar[str] = "dreambooth"
    instance_prompt: ClassVar[str] = "a picture in the style of TOK"
    wanted_prompt: ClassVar[str] = "a picture of a {thing} in the style of TOK"
    captioned: ClassVar[bool] = True
    flag: ClassVar[str] = "--tasks"

    def things(self, split: Split) -> tuple[str, ...]:
        """See `DreamBooth.things`: for the test, the user's own prompts if there are any."""
        own = _prompts(cast("Path", self.data)) if split == "test" else ()
        return own or super().things(split)

    def prompt_of(self, thing: str) -> str:
        """See `DreamBooth.prompt_of`: what is no thing of ours is a whole prompt."""
        return super().prompt_of(thing) if thing in TESTED or thing in self.things("validation") else thing


def own_pictures(folder: Path) -> OwnPictures:
    """Return the task of a folder.

    Raises:
        UsageError: If there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"--tasks: {PREFIX}{folder} is not a folder; expected one with pictures in it")
    return _named(re.sub(r"[^A-Za-z0-9_.]+", "-", folder.resolve().name))(folder)


@lru_cache
def _named(name: str) -> type[OwnPictures]:
    return type("OwnPictures", (OwnPictures,), {"name": f"dreambooth-{name}"})


def _prompts(folder: Path) -> tuple[str, ...]:
    path = folder / PROMPTS
    if not path.is_file():
        return ()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--tasks: {path} cannot be read: {one_line(error)}") from None
    return tuple(dict.fromkeys(line for line in lines if line))
