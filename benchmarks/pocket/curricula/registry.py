"""The curricula by name, and the share of the pretraining tokens that each one gets.

The shares are of the whole corpus; what is missing to 1 goes to the standard library's text. Stories and
arithmetic get most, because the tasks that are fine-tuned on this base lean on them most. The library's share is
small because its text is: at 18 % a run of 760 million tokens met every file thirty times and memorised it (1.9
nats per token on its files, 5.1 on held-out ones). `pocket-t5` learns English in six curricula more, and little of the
rest: it is for tasks that read.
"""

from __future__ import annotations

from benchmarks.pocket.curricula import (
    arithmetic,
    choosing,
    dialogues,
    functions,
    grammar,
    instructions,
    lists,
    reading,
    repairs,
    restating,
    sentences,
    stories,
    strings,
    wording,
)
from benchmarks.pocket.curricula.item import Curriculum
from benchmarks.pocket.curricula.reserved import apart

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
    "restating": restating.generate,
    "reading": reading.generate,
    "repairs": repairs.generate,
    "choosing": choosing.generate,
}
ALL_CURRICULA: dict[str, Curriculum] = CURRICULA | ENGLISH
T5_TOKEN_SHARES: dict[str, float] = {
    "arithmetic": 0.01,
    "stories": 0.02,
    "grammar": 0.04,
    "lists": 0.01,
    "strings": 0.01,
    "functions": 0.01,
    "instructions": 0.01,
    "dialogues": 0.01,
    "sentences": 0.18,
    "wording": 0.10,
    "restating": 0.10,
    "reading": 0.08,
    "repairs": 0.12,
    "choosing": 0.25,
}
#: The same without the sentences of the tasks that `pocket-t5` is fine-tuned on.
T5_CURRICULA: dict[str, Curriculum] = {name: apart(ALL_CURRICULA[name]) for name in T5_TOKEN_SHARES}
