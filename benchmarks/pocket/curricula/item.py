"""One generated document of a pretraining curriculum, and how the k-th one is drawn.

A curriculum is a function from a random generator to an `Item`. Every document has its own generator, seeded with
the curriculum's name and the document's index, so the k-th document is the same whatever the number of workers
that share the work. Held-out documents are recognised by a checksum of their own text: no document that a model
was trained on can be among them, even if two indices happen to draw the same text.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

#: One document in `HELD_OUT_ONE_IN` is kept out of training.
HELD_OUT_ONE_IN = 32
_MAX_DRAWS = 20_000


@dataclass(frozen=True)
class Item:
    """A document: what is given, and what has to follow (an empty prompt means plain text).

    Attributes:
        prompt: The given part; does not end with a space, which belongs to the token that follows.
        completion: The part that is judged; exactly one completion is right unless the prompt is empty.
    """

    prompt: str
    completion: str

    @property
    def text(self) -> str:
        """The whole document, as pretraining sees it."""
        return self.prompt + self.completion


Curriculum = Callable[[Random], Item]


def is_held_out(text: str) -> bool:
    """Say whether a document with this text (or a file with this name) is kept out of training."""
    return zlib.crc32(text.encode()) % HELD_OUT_ONE_IN == 0


def draw(name: str, curriculum: Curriculum, index: int, *, seed: int = 0, held_out: bool = False) -> Item:
    """Draw document `index` of a curriculum.

    Args:
        name: Name of the curriculum; part of the random seed, so that curricula do not share their choices.
        curriculum: The generating function.
        index: Which document, from 0.
        seed: Seed of the whole corpus.
        held_out: Draw from the documents kept out of training instead of from those trained on.

    Returns:
        The same item for the same arguments, on any machine.

    Raises:
        ValueError: If the curriculum is so small that none of its documents falls on the wanted side.
    """
    rng = Random(f"{seed}/{name}/{index}/{int(held_out)}")
    for _ in range(_MAX_DRAWS):
        item = curriculum(rng)
        if is_held_out(item.text) == held_out:
            return item
    side = "held out" if held_out else "trained on"
    raise ValueError(f"curriculum {name!r}: no document that is {side} in {_MAX_DRAWS} draws; add variety to it")
