"""The sentences of `clauses` and the faults in them, judged by a grammar written apart from the generator."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.pocket.curricula.clauses import Sentence, Word, draw_sentence, written
from benchmarks.pocket.curricula.faults import FAULTS, REPAIRABLE, draw_faulty, with_fault
from tests.benchmarks.pocket.grammaticality import is_grammatical


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The bakers near the farmer sing.", True),
        ("The bakers near the farmer sings.", False),
        ("This baker who thanks the farmers has not taken these lamps now.", False),
        ("This baker who thanks the farmers has not taken these lamps.", True),
        ("He did not greets them in the garden.", False),
        ("They will follow us tomorrow because every miller is waiting.", True),
        ("They will follow us yesterday.", False),
        ("They will follow us tomorrow because every miller waiting.", False),
    ],
)
def test_the_oracle_knows_its_grammar(text: str, right: bool) -> None:
    assert is_grammatical(text) == right


def test_sentences_are_grammatical() -> None:
    for draw in range(3_000):
        text = written(draw_sentence(Random(f"right/{draw}")))
        assert is_grammatical(text), text


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_makes_a_sentence_ungrammatical(fault: str) -> None:
    made = 0
    for draw in range(300):
        rng = Random(f"fault/{draw}")
        faulty = with_fault(rng, draw_sentence(rng), (fault,))
        if faulty is not None:
            assert not is_grammatical(written(faulty)), written(faulty)
            made += 1
    assert made > 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_single_fault_is_found_in_some_sentence(fault: str) -> None:
    """A short list of faults must not be waited for without end."""
    assert not is_grammatical(written(draw_faulty(Random(0), (fault,))))


def test_faults_that_have_no_place_anywhere_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def sentence(rng: Random, *, joined: int) -> Sentence:
        return [Word("boats", "noun"), Word("sank", "verb")]

    monkeypatch.setattr("benchmarks.pocket.curricula.faults.draw_sentence", sentence)
    with pytest.raises(ValueError, match="time, case had no place"):
        draw_faulty(Random(0), ("time", "case"))
    with pytest.raises(ValueError, match="faults: none had no place"):
        draw_faulty(Random(0), ())


def test_a_sentence_with_a_repairable_fault_comes_from_one_sentence() -> None:
    """Whatever two sentences a repairable fault is put into, the results differ."""
    origin: dict[str, str] = {}
    for draw in range(20_000):
        rng = Random(f"repair/{draw}")
        right = draw_sentence(rng, joined=10**6)
        faulty = with_fault(rng, right, REPAIRABLE)
        if faulty is not None and len(right) < 6:
            assert origin.setdefault(written(faulty), written(right)) == written(right)
    assert len(origin) > 1_000
