"""`pocket-nlu-paraphrase`: do two sentences mean the same? For the base `pocket-t5`, in the role of MRPC.

A meaning is drawn, and for half of the pairs changed in one point: who does it to whom, whether, how many, what, when,
where, or what came first. Each of the two is then written in a way of its own: a synonym, the other voice, the clauses
in the other order, giving as getting, taller as shorter. So two sentences with the same words may differ and two with
few words in common may not. The base knows these ways (`curricula.saying`) and has chosen the sentences that say the
same as another one, of some kinds; it was never asked about a pair, and no sentence here was in its texts
(`curricula.reserved`).
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from benchmarks.pocket.curricula.meanings import change_meaning, draw_meaning
from benchmarks.pocket.curricula.reserved import is_reserved
from benchmarks.pocket.curricula.saying import say
from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.judging import JudgingTask

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 512}
EQUIVALENT, DIFFERENT = " equivalent", " different"


def generate(rng: Random) -> Example:
    """Draw one pair of reserved sentences, which never are the same text."""
    while True:
        # Whatever is refused, all is drawn again: the refusals then tell nothing about the answer.
        meaning = draw_meaning(rng)
        same = rng.randrange(2) == 0
        first = say(rng, meaning)
        if not is_reserved(first):
            continue
        other = meaning if same else change_meaning(rng, meaning)
        while (second := say(rng, other)) == first:
            pass
        if is_reserved(second):
            first, second = rng.sample((first, second), 2)
            answer = EQUIVALENT if same else DIFFERENT
            return Example(prompt=f"First: {first}\nSecond: {second}\nJudgement:", completion=answer)


class PocketNluParaphrase(JudgingTask):
    """Pairs of sentences; accuracy of the answers."""

    name: ClassVar[str] = "pocket-nlu-paraphrase"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "accuracy"
    base: ClassVar[str] = "pocket-t5"
    sizes: ClassVar[dict[Split, int]] = SIZES
    answers: ClassVar[tuple[str, str]] = (EQUIVALENT, DIFFERENT)
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=2e-3, max_new_tokens=8)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """No sentence comes twice, in whatever pair."""
        return {line.split(": ", 1)[1] for line in example.prompt.split("\n")[:2]}
