"""The pretraining corpus: documents of all sources, tokenised and packed into rows, shard by shard.

A shard holds every source in its share, shuffled, and depends on its number and the seed alone, so any number of
worker processes builds the same corpus; training takes shards in order as they are finished. Documents are packed
whole (`<bos> text <eos>`), so that every row starts with a document as every prompt later does; what is left of a
row is padding, which the loss ignores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.pocket.curricula import ALL_CURRICULA, T5_TOKEN_SHARES, TOKEN_SHARES, draw
from benchmarks.pocket.standard_library import library_document

LIBRARY = "standard-library"
#: Share of the corpus's tokens by source.
SOURCE_SHARES: dict[str, float] = {**TOKEN_SHARES, LIBRARY: 1 - sum(TOKEN_SHARES.values())}
T5_SOURCE_SHARES: dict[str, float] = {**T5_TOKEN_SHARES, LIBRARY: 1 - sum(T5_TOKEN_SHARES.values())}

PAD, BOS, EOS = 0, 1, 2
#: 256 predicted tokens and the one before them.
ROW_TOKENS = 257
_BATCH = 256
#: Documents of one source that a shard can use before it would meet those of the next shard.
STRIDE = 1_000_000
OPEN_ROWS = 16

Rows = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class ShardRequest:
    """What a worker needs to build a shard.

    Attributes:
        shard: Number of the shard, from 0.
        tokens: Tokens of the shard, padding not counted (approximately: documents are kept whole).
        seed: Seed of the corpus.
        tokenizer_file: Path of `tokenizer.json`.
    """

    shard: int
    tokens: int
    seed: int
    tokenizer_file: str


def document(source: str, index: int, *, seed: int, held_out: bool = False) -> str:
    """Return the text of document `index` of a source."""
    if source == LIBRARY:
        return library_document(index, seed=seed, held_out=held_out)
    return draw(source, ALL_CURRICULA[source], index, seed=seed, held_out=held_out).text


def _encoded(request: ShardRequest, source: str, tokenizer: Tokenizer) -> Iterator[list[int]]:
    for first in count(request.shard * STRIDE, _BATCH):
        texts = [document(source, index, seed=request.seed) for index in range(first, first + _BATCH)]
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            yield [BOS, *encoding.ids, EOS][:ROW_TOKENS]


def build_shard(request: ShardRequest) -> Rows:
    """Build one shard of packed rows, shape (rows, `ROW_TOKENS`), the same whoever builds it."""
    tokenizer = read_tokenizer(request.tokenizer_file)
    documents: list[list[int]] = []
    for source, share in SOURCE_SHARES.items():
        taken = 0
        for tokens in _encoded(request, source, tokenizer):
            if taken >= share * request.tokens:
                break
            documents.append(tokens)
            taken += len(tokens)
    Random(f"{request.seed}/shard/{request.shard}").shuffle(documents)
    return pack(documents)


def pack(documents: list[list[int]]) -> Rows:
    """Pack whole documents into rows of `ROW_TOKENS`, each into the first open row that has room.

    Args:
        documents: Token numbers, each at most `ROW_TOKENS` long.

    Returns:
        Shape (rows, `ROW_TOKENS`), padded with `PAD` at the end of a row.
    """
    closed: list[list[int]] = []
    opened: list[list[int]] = []
    for tokens in documents:
        row = next((row for row in opened if len(row) + len(tokens) <= ROW_TOKENS), None)
        if row is not None:
            row.extend(tokens)
            continue
        if len(opened) == OPEN_ROWS:
            fullest = max(range(OPEN_ROWS), key=lambda position: len(opened[position]))
            closed.append(opened.pop(fullest))
        opened.append(list(tokens))
    closed += opened
    packed = np.full((len(closed), ROW_TOKENS), PAD, dtype=np.uint16)
    for position, row in enumerate(closed):
        packed[position, : len(row)] = row
    return packed


@cache
def read_tokenizer(path: str) -> Tokenizer:
    """Read a tokenizer once for each process."""
    return Tokenizer.from_file(path)
