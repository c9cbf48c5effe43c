"""The curricula by name, and the share of the pretraining tokens that each one gets.

The shares are of the whole corpus; what is missing to 1 goes to the standard library's text. Stories and
arithmetic get most, because the tasks that are fine-tuned on this base lean on them most. The library's share is
small because its text is: at 18 % a run of 760 million tokens met every file thirty times and memorised it (1.9
nats per token on its files, 5.1 on held-out ones). `pocket-t5` learns English in four curricula more, and less of the
rest: it is for tasks that read.
"""

from __future__ import annotations

from benchmarks.pocket.curricula import (
    arithmetic,
    dialogues,
    functions,
    grammar,
    instructions,
    lists,
    reading,
    repairs,
    sentences,
    stories,
    strings,
    wording,
)
from benchmarks.pocket.curricula.item import Curriculum

CURRICULA: dict[str, Curriculum] = {
    "arithmetic": arithmetic.generate,
    "stories": stories.generate,
    "grammar": grammar.generate,
    "lists": lists.generate,
    "strings": strings.generate,
    "functions": functions.generate,
    "instructions": instructions.generate,
    "dialogues": dialogues.generate,
}
TOKEN_SHARES: dict[str, float] = {
    "arithmetic": 0.16,
    "stories": 0.26,
    "grammar": 0.14,
    "lists": 0.08,
    "strings": 0.08,
    "functions": 0.10,
    "instructions": 0.06,
    "dialogues": 0.06,
}

ENGLISH: dict[str, Curriculum] = {
    "sentences": sentences.generate,
    "wording": wording.generate,
    "reading": reading.generate,
    "repairs": repairs.generate,
}
ALL_CURRICULA: dict[str, Curriculum] = CURRICULA | ENGLISH
T5_TOKEN_SHARES: dict[str, float] = {
    "arithmetic": 0.03,
    "stories": 0.06,
    "grammar": 0.11,
    "lists": 0.03,
    "strings": 0.03,
    "functions": 0.03,
    "instructions": 0.04,
    "dialogues": 0.04,
    "sentences": 0.20,
    "wording": 0.16,
    "reading": 0.12,
    "repairs": 0.10,
}
