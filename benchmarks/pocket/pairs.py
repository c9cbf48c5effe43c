"""The corpus of an encoder-decoder base: pairs of input and target, packed into rows, shard by shard.

An item of a curriculum is its prompt and its completion; text without a question (paragraphs, the standard library) is
corrupted by spans. Input and target each end with `<eos>`, and a row holds several pairs, one after another: their
inputs in its first `INPUT_TOKENS` places, their targets, in the same order, in the others. Which tokens belong together
can be counted from the ends, so a row needs no more than its tokens. Shards are as in `corpus`: a function of their
number and the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

import numpy as np
from tokenizers import Tokenizer

from benchmarks.pocket.corpus import (
    EOS,
    OPEN_ROWS,
    PAD,
    STRIDE,
    T5_SOURCE_SHARES,
    Rows,
    ShardRequest,
    document,
    read_tokenizer,
)
from benchmarks.pocket.curricula import T5_CURRICULA, Item, draw
from benchmarks.pocket.span_corruption import corrupt

INPUT_TOKENS = 256
TARGET_TOKENS = 96
#: Sentinels follow `<pad>`, `<bos>` and `<eos>`.
SENTINELS = range(3, 35)
_BATCH = 256

Pair = tuple[list[int], list[int]]


def item(source: str, index: int, *, seed: int, held_out: bool = False) -> Item:
    """Return document `index` of a source; one with an empty prompt is text to be corrupted."""
    if source in T5_CURRICULA:
        return draw(source, T5_CURRICULA[source], index, seed=seed, held_out=held_out)
    return Item("", document(source, index, seed=seed, held_out=held_out))


def encode_pairs(
    source: str, first: int, number: int, tokenizer: Tokenizer, *, seed: int, held_out: bool = False
) -> list[Pair]:
    """Return the pairs of `number` documents of a source, from document `first` on, each with its two ends.

    Texts are cut to the length of a row before they are corrupted; the rare text of a single token is left out.
    """
    items = [item(source, index, seed=seed, held_out=held_out) for index in range(first, first + number)]
    prompts = tokenizer.encode_batch_fast([each.prompt for each in items], add_special_tokens=False)
    completions = tokenizer.encode_batch_fast([each.completion for each in items], add_special_tokens=False)
    pairs: list[Pair] = []
    for index, (each, prompt, completion) in enumerate(zip(items, prompts, completions, strict=True), first):
        given, target = prompt.ids, completion.ids
        if not each.prompt:
            if len(target) < 2:
                continue
            rng = Random(f"{seed}/spans/{source}/{index}/{int(held_out)}")
            given, target = corrupt(target[:INPUT_TOKENS], rng, SENTINELS)
        pairs.append(([*given[: INPUT_TOKENS - 1], EOS], [*target[: TARGET_TOKENS - 1], EOS]))
    return pairs


def _pairs(request: ShardRequest, source: str, tokenizer: Tokenizer) -> Iterator[Pair]:
    for first in count(request.shard * STRIDE, _BATCH):
        yield from encode_pairs(source, first, _BATCH, tokenizer, seed=request.seed)


def build_pair_shard(request: ShardRequest) -> Rows:
    """Build one shard, shape (rows, `INPUT_TOKENS` + `TARGET_TOKENS`), the same whoever builds it."""
    tokenizer = read_tokenizer(request.tokenizer_file)
    pairs: list[Pair] = []
    for source, share in T5_SOURCE_SHARES.items():
        taken = 0
        for given, target in _pairs(request, source, tokenizer):
            if taken >= share * request.tokens:
                break
            pairs.append((given, target))
            taken += len(given) + len(target)
    Random(f"{request.seed}/shard/{request.shard}").shuffle(pairs)
    return pack_pairs(pairs)


def pack_pairs(pairs: list[Pair]) -> Rows:
    """Pack whole pairs into rows, each into the first open row that has room for input and target.

    Returns:
        Shape (rows, `INPUT_TOKENS` + `TARGET_TOKENS`); both parts are padded with `PAD` at their ends.
    """
    closed: list[Pair] = []
    opened: list[Pair] = []
    for given, target in pairs:
        row = next((row for row in opened if _fits(row, given, target)), None)
        if row is not None:
            row[0].extend(given)
            row[1].extend(target)
            continue
        if len(opened) == OPEN_ROWS:
            fullest = max(range(OPEN_ROWS), key=lambda position: len(opened[position][0]) + len(opened[position][1]))
            closed.append(opened.pop(fullest))
        opened.append((list(given), list(target)))
    closed += opened
    packed = np.full((len(closed), INPUT_TOKENS + TARGET_TOKENS), PAD, dtype=np.uint16)
    for position, (given, target) in enumerate(closed):
        packed[position, : len(given)] = given
        packed[position, INPUT_TOKENS : INPUT_TOKENS + len(target)] = target
    return packed


def _fits(row: Pair, given: list[int], target: list[int]) -> bool:
    return len(row[0]) + len(given) <= INPUT_TOKENS and len(row[1]) + len(target) <= TARGET_TOKENS
