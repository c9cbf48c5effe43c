from __future__ import annotations

import hashlib

import numpy as np

from benchmarks.pocket.pictures.rows import (
    HELD_OUT,
    NUMBERS,
    PIXELS,
    PictureShard,
    build_picture_shard,
    described,
    tokens_of,
)
from benchmarks.pocket.pictures.scene import draw

SHARD = PictureShard(shard=2, count=200, seed=0)


def test_rows_hold_the_pictures_the_captions_and_the_conditioning() -> None:
    rows = build_picture_shard(SHARD)
    scenes = described(SHARD)
    for row, (scene, _) in zip(rows, scenes, strict=True):
        assert np.array_equal(row[:PIXELS].reshape(3, 32, 32), draw(scene))
        assert tuple(row[-NUMBERS:]) == scene.view.conditioning
    captions = [row[PIXELS:-NUMBERS].tolist() for row in rows]
    empty = [tokens == tokens_of("") for tokens in captions]
    assert 8 <= sum(empty) <= 35
    named = [t == tokens_of(words) for t, (_, words) in zip(captions, scenes, strict=True)]
    assert all(a or b for a, b in zip(named, empty, strict=True))


def test_shards_are_the_same_everywhere_and_held_out_ones_are_others() -> None:
    rows = build_picture_shard(SHARD)
    assert hashlib.sha256(rows.astype("<u2").tobytes()).hexdigest()[:16] == "acbb217ee180d684"
    held_out = build_picture_shard(PictureShard(shard=2, count=200, seed=0, stream=HELD_OUT))
    assert not {row.tobytes() for row in rows} & {row.tobytes() for row in held_out}
