"""The base's corpus: pictures with captions as rows of whole numbers, shard by shard.

A row holds the pixels of a picture, the tokens of its caption and the numbers of its micro-conditioning, so that the
loop that trains the other pocket bases trains this one too. A shard depends on its number and the seed alone. One
caption in ten is empty, as classifier-free guidance wants it (Ho and Salimans 2022, arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from benchmarks.pocket.corpus import Rows
from benchmarks.pocket.pictures.scene import SIDE, Scene, caption, draw, draw_scene
from benchmarks.pocket.pictures.words import BOS, EOS, LENGTH, PAD, vocabulary

CHANNELS = 3
PIXELS = CHANNELS * SIDE * SIDE
#: Of the micro-conditioning.
NUMBERS = 6
#: Share of the captions that are left empty.
EMPTY = 0.1
#: Random streams of what is trained on and of what is held out.
TRAINED, HELD_OUT = 0, 1
_TOKENS = {word: index for index, word in enumerate(vocabulary())}


@dataclass(frozen=True, kw_only=True)
class PictureShard:
    """Which pictures a worker draws: `count` of them, shard number `shard` of the corpus of a seed."""

    shard: int
    count: int
    seed: int
    stream: int = TRAINED


def tokens_of(words: str) -> list[int]:
    """Return the tokens of a caption, padded; the tokenizer's own, without its library."""
    found = [BOS, *(_TOKENS[word] for word in words.split()), EOS]
    return found + [PAD] * (LENGTH - len(found))


def described(request: PictureShard) -> list[tuple[Scene, str]]:
    """Return scenes and captions of a shard; empty captions are not among them."""
    rng = Random(f"pictures {request.stream} {request.seed} {request.shard}")
    scenes = [draw_scene(rng) for _ in range(request.count)]
    return [(scene, caption(scene, rng)) for scene in scenes]


def build_picture_shard(request: PictureShard) -> Rows:
    """Return the rows of a shard, uint16 (count, PIXELS + LENGTH + NUMBERS)."""
    rng = Random(f"empty {request.stream} {request.seed} {request.shard}")
    rows = np.empty((request.count, PIXELS + LENGTH + NUMBERS), dtype=np.uint16)
    for row, (scene, words) in zip(rows, described(request), strict=True):
        row[:PIXELS] = draw(scene).reshape(-1)
        row[PIXELS:-NUMBERS] = tokens_of("" if rng.random() < EMPTY else words)
        row[-NUMBERS:] = scene.view.conditioning
    return rows
