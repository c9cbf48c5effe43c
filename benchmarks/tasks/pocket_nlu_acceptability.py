"""`pocket-nlu-acceptability`: is a sentence grammatical? For the base `pocket-t5`, in the role of CoLA.

Half of the sentences have one fault: agreement (also across a phrase or a clause in between), the form after an
auxiliary, a word of time against the tense, a determiner against the number, a missing or an exchanged word, a doubled
one, a pronoun's case. The base knows the grammar (`curricula.clauses`), has repaired most of these faults and has
chosen well-formed sentences among ones with some of them; it was never asked for a judgement of one sentence, and no
sentence here was in its texts (`curricula.reserved`). As for CoLA (Warstadt et al., TACL 2019, arXiv 1805.12471) the
metric is the Matthews correlation, 0 for whoever guesses.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from benchmarks.pocket.curricula.clauses import draw_sentence, written
from benchmarks.pocket.curricula.faults import draw_faulty
from benchmarks.pocket.curricula.reserved import is_reserved
from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.judging import JudgingTask

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 512}
#: The faults, each as often as it is named.
FAULTS = ("agreement", "agreement", "form", "time", "number", "case", "missing", "exchanged", "doubled")
ACCEPTABLE, UNACCEPTABLE = " acceptable", " unacceptable"


def generate(rng: Random) -> Example:
    """Draw one sentence of the reserved ones, acceptable or with one fault."""
    while True:
        faulty = rng.randrange(2) == 1
        text = written(draw_faulty(rng, FAULTS) if faulty else draw_sentence(rng))
        if is_reserved(text):
            answer = UNACCEPTABLE if faulty else ACCEPTABLE
            return Example(prompt=f"Sentence: {text}\nJudgement:", completion=answer)


class PocketNluAcceptability(JudgingTask):
    """Sentences to be judged; Matthews correlation of the answers with the truth."""

    name: ClassVar[str] = "pocket-nlu-acceptability"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "Matthews correlation"
    base: ClassVar[str] = "pocket-t5"
    sizes: ClassVar[dict[Split, int]] = SIZES
    answers: ClassVar[tuple[str, str]] = (ACCEPTABLE, UNACCEPTABLE)
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=3e-3, max_new_tokens=8)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """No sentence comes twice."""
        return {example.prompt}
