from __future__ import annotations

import zlib
from random import Random

import pytest

from benchmarks.pocket.curricula import ALL_CURRICULA, T5_CURRICULA, T5_TOKEN_SHARES, Item
from benchmarks.pocket.curricula.clauses import draw_sentence, written
from benchmarks.pocket.curricula.reserved import RESERVED_ONE_IN, apart, free, holds_reserved, is_reserved
from benchmarks.pocket.pairs import item

SENTENCES = sorted({written(draw_sentence(Random(index))) for index in range(2_000)})
TAKEN = [sentence for sentence in SENTENCES if is_reserved(sentence)]
FREE = [sentence for sentence in SENTENCES if not is_reserved(sentence) and len(sentence.split()) > 3]


def test_a_sentence_in_four_belongs_to_the_tasks_by_its_checksum() -> None:
    assert len(TAKEN) / (len(TAKEN) + len(FREE)) == pytest.approx(1 / RESERVED_ONE_IN, abs=0.04)
    assert all(zlib.crc32(f"task {sentence}".encode()) % 4 == 0 for sentence in TAKEN)


def test_reserved_sentences_are_found_wherever_they_stand() -> None:
    for taken, before, after in zip(TAKEN, FREE, FREE[1:], strict=False):
        for text in (taken, f"Repair: {taken}\n", f"{before} {taken}", f"A: {taken}\nB: {after}", f"{taken} {after}"):
            assert holds_reserved(text), text
        for text in (before, f"{before} {after}", f"A: {before}\nB: {after}", taken.lower()):
            assert not holds_reserved(text), text


def test_short_phrases_are_no_sentences() -> None:
    assert not any(is_reserved(f"The tall {noun}.") for noun in ("baker", "farmer", "boy", "king", "cat", "dog", "fox"))


def test_curricula_are_left_without_reserved_sentences() -> None:
    mixed = iter([Item("", TAKEN[0]), Item(f"Repair: {TAKEN[1]}", FREE[0]), Item(f"Repair: {FREE[1]}", FREE[2])])
    assert apart(lambda rng: next(mixed))(Random(0)) == Item(f"Repair: {FREE[1]}", FREE[2])
    texts = iter([TAKEN[0], FREE[0]])
    assert free(Random(0), lambda rng: next(texts)) == FREE[0]


def test_a_curriculum_of_reserved_sentences_alone_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="no document without a reserved sentence"):
        apart(lambda rng: Item("", TAKEN[0]))(Random(0))
    with pytest.raises(ValueError, match="no text without a reserved sentence"):
        free(Random(0), lambda rng: TAKEN[0])


@pytest.mark.parametrize("source", T5_TOKEN_SHARES)
def test_the_corpus_of_the_base_holds_none(source: str) -> None:
    texts = [item(source, index, seed=0).text for index in range(1_000)]
    assert not [text for text in texts if holds_reserved(text)]


def test_without_this_there_would_be_many() -> None:
    for source in ("repairs", "choosing", "restating"):
        drawn = [ALL_CURRICULA[source](Random(index)).text for index in range(400)]
        kept = [T5_CURRICULA[source](Random(index)).text for index in range(400)]
        assert not any(map(holds_reserved, kept))
        if source != "choosing":
            assert sum(map(holds_reserved, drawn)) > 50
