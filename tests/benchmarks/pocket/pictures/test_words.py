from __future__ import annotations

from benchmarks.pocket.pictures.rows import tokens_of
from benchmarks.pocket.pictures.words import EOS, LENGTH, RARE, UNKNOWN, build_tokenizer, vocabulary


def test_every_word_is_one_token_and_comes_back() -> None:
    tokenizer = build_tokenizer()
    words = "a large red heart in the style of sks"
    tokens = tokenizer(words)["input_ids"]
    assert len(tokens) == len(words.split()) + 2
    assert tokenizer.decode(tokens, skip_special_tokens=True) == words
    assert UNKNOWN in tokenizer("a zebra")["input_ids"]
    assert set(RARE) <= set(vocabulary())


def test_the_corpus_has_the_tokens_that_the_tokenizer_makes() -> None:
    tokenizer = build_tokenizer()
    for words in ("", "a flat picture of a small blue moon"):
        assert tokenizer(words, padding="max_length")["input_ids"] == tokens_of(words)
    assert len(tokens_of("a moon")) == LENGTH


def test_the_end_is_not_the_token_at_which_clip_reads_the_largest_instead() -> None:
    assert EOS != 2
