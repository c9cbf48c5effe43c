"""Which sentences belong to the fine-tuning tasks, and are therefore in no text that a base is trained on.

The base of the language tasks has to know their language, so tasks and curricula draw from the same grammars. What
keeps them apart is a checksum of every single sentence: one sentence in `RESERVED_ONE_IN` belongs to the tasks, which
use no other ones, and every curriculum of that base draws again where it would have written one. A phrase of up to
three words is no sentence here: the short answers of many curricula have to stay as they are. The tokenizer alone,
which counts pairs of bytes, is trained on documents of all kinds.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from random import Random

from benchmarks.pocket.curricula.item import Curriculum, Item

RESERVED_ONE_IN = 4
_MAX_DRAWS = 20_000
_SENTENCE = re.compile(r"[A-Z][\w']*(?:,? [\w']+){3,}\.")


def is_reserved(sentence: str) -> bool:
    """Say whether a sentence, with its capital and its full stop, belongs to the tasks."""
    return _SENTENCE.fullmatch(sentence) is not None and zlib.crc32(b"task " + sentence.encode()) % RESERVED_ONE_IN == 0


def holds_reserved(text: str) -> bool:
    """Say whether any sentence in a text belongs to the tasks."""
    return any(is_reserved(sentence) for sentence in _SENTENCE.findall(text))


def free(rng: Random, write: Callable[[Random], str]) -> str:
    """Return the first text that holds no reserved sentence.

    Raises:
        ValueError: If there is none.
    """
    for _ in range(_MAX_DRAWS):
        text = write(rng)
        if not holds_reserved(text):
            return text
    raise ValueError(f"no text without a reserved sentence in {_MAX_DRAWS} draws, such as {text!r}")


def apart(curriculum: Curriculum) -> Curriculum:
    """Return a curriculum without the documents that hold a reserved sentence.

    It raises ValueError where it finds no other ones.
    """

    def generate(rng: Random) -> Item:
        for _ in range(_MAX_DRAWS):
            item = curriculum(rng)
            if not holds_reserved(item.text):
                return item
        raise ValueError(f"no document without a reserved sentence in {_MAX_DRAWS} draws, such as {item.text!r}")

    return generate
