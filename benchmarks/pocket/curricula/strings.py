"""String curriculum: one operation on a word or a short phrase, and its result.

Half of the words are real ones and half random letters, so that spelling has to be handled and not recalled.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import ANIMALS, COLOURS, FRUITS, JOBS, PLACES, THINGS
from benchmarks.pocket.curricula.number_words import ORDINALS

_WORDS = (*ANIMALS, *COLOURS, *FRUITS, *JOBS, *PLACES, *(thing for thing, _ in THINGS))
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _word(rng: Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(_WORDS)
    return "".join(rng.choices(_LETTERS, k=rng.randrange(3, 7)))


def _one_word(rng: Random) -> Item:
    word = _word(rng)
    position = rng.randrange(min(len(word), len(ORDINALS)))
    letter = rng.choice(word if rng.random() < 0.8 else _LETTERS)
    times = rng.randrange(2, 4)
    prompt, result = rng.choice(
        (
            (f"reverse '{word}'", word[::-1]),
            (f"upper '{word}'", word.upper()),
            (f"title '{word}'", word.title()),
            (f"length of '{word}'", str(len(word))),
            (f"{ORDINALS[position]} letter of '{word}'", word[position]),
            (f"last letter of '{word}'", word[-1]),
            (f"spell '{word}'", "-".join(word)),
            (f"count '{letter}' in '{word}'", str(word.count(letter))),
            (f"repeat '{word}' {times} times", word * times),
            (f"remove '{letter}' from '{word}'", word.replace(letter, "")),
            (f"sort letters of '{word}'", "".join(sorted(word))),
            (f"double each letter of '{word}'", "".join(2 * character for character in word)),
        )
    )
    return Item(f"{prompt} ->", f" '{result}'")


def _phrase(rng: Random) -> Item:
    words = [_word(rng) for _ in range(rng.randrange(2, 5))]
    phrase = " ".join(words)
    old, new = rng.choice(words), rng.choice(_WORDS)
    prompt, result = rng.choice(
        (
            (f"split '{phrase}'", str(words)),
            (f"join {words}", f"'{phrase}'"),
            (f"reverse the words of '{phrase}'", f"'{' '.join(reversed(words))}'"),
            (f"count the words of '{phrase}'", str(len(words))),
            (f"first letters of '{phrase}'", f"'{''.join(word[0] for word in words)}'"),
            (f"replace '{old}' by '{new}' in '{phrase}'", "'" + " ".join(new if w == old else w for w in words) + "'"),
            (f"capitals of '{phrase}'", f"'{phrase.upper()}'"),
        )
    )
    return Item(f"{prompt} ->", f" {result}")


def generate(rng: Random) -> Item:
    """Draw one string operation; the completion is the result."""
    return _one_word(rng) if rng.random() < 0.6 else _phrase(rng)
