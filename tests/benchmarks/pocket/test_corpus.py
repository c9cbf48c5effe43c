from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.corpus import BOS, EOS, LIBRARY, PAD, ROW_TOKENS, SOURCE_SHARES, ShardRequest, build_shard, pack

TOKENIZER = str(POCKET_MODELS / "pocket-llama" / "tokenizer.json")


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The true library takes seconds to read; what is tested here is the mixing."""

    def texts(index: int, *, seed: int, held_out: bool) -> str:
        return f"def function_{index}():\n    return {seed}, {held_out}\n"

    monkeypatch.setattr("benchmarks.pocket.corpus.library_document", texts)


def request(shard: int, *, seed: int = 0) -> ShardRequest:
    return ShardRequest(shard=shard, tokens=30_000, seed=seed, tokenizer_file=TOKENIZER)


def test_packing_keeps_every_document_whole_and_in_one_row() -> None:
    rng = np.random.default_rng(0)
    documents = [[BOS, *rng.integers(3, 50, size=rng.integers(1, 200)).tolist(), EOS] for _ in range(300)]
    rows = pack(documents)
    assert rows.dtype == np.uint16
    assert rows.shape[1] == ROW_TOKENS
    assert (rows[:, 0] == BOS).all()
    found = []
    for row in rows:
        tokens = row[: np.count_nonzero(row)].tolist()
        assert (row[len(tokens) :] == PAD).all()
        starts = [place for place, token in enumerate(tokens) if token == BOS]
        found += [tokens[start:end] for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True)]
    assert sorted(found) == sorted(documents)
    assert len(rows) < 1.1 * sum(map(len, documents)) / ROW_TOKENS + 16


def test_a_shard_depends_on_its_number_and_the_seed_alone() -> None:
    third = build_shard(request(3))
    assert (build_shard(request(3)) == third).all()
    assert not np.array_equal(build_shard(request(4)), third)
    assert not np.array_equal(build_shard(request(3, seed=1)), third)


def test_a_shard_has_about_the_tokens_asked_for() -> None:
    rows = build_shard(request(0))
    assert np.count_nonzero(rows) == pytest.approx(30_000, rel=0.05)
    assert np.count_nonzero(rows) > 0.95 * rows.size - 16 * ROW_TOKENS


def test_shares_add_up_and_name_the_library() -> None:
    assert sum(SOURCE_SHARES.values()) == pytest.approx(1.0)
    assert SOURCE_SHARES[LIBRARY] > 0


def test_the_tokenizer_that_ships_is_there() -> None:
    assert Path(TOKENIZER).is_file()
