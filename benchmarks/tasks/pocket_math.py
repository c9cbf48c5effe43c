"""`pocket-math`: word problems of three and four steps with a worked answer, for the base `pocket-llama`.

The base has met stories of up to three steps, in other sentences, about other things, from 2 to 40 of them and in
changes of 2 to 19; here they start from 41 to 89 and change by 21 to 39, and the answer ends with a marker line that
the base has never written. Few examples and many sentences make it a task that plain LoRA can overfit: the score
on unseen problems stays well below that on the training ones. It refuses nothing and has no options; the splits
are fixed by the task's version.
"""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.drawn import DrawnTask

START = range(41, 90)
AMOUNT = range(21, 40)
FACTORS = (2, 3, 4)
LARGEST = 199
SIZES: dict[Split, int] = {"train": 256, "validation": 512, "test": 512}

PEOPLE = (
    ("Ida", "she", "her"),
    ("Tess", "she", "her"),
    ("Zoe", "she", "her"),
    ("Hana", "she", "her"),
    ("Ruth", "she", "her"),
    ("Rex", "he", "him"),
    ("Omar", "he", "him"),
    ("Hugo", "he", "him"),
    ("Karl", "he", "him"),
    ("Nils", "he", "him"),
)
_ITEM_NAMES = (
    "stamps shells lamps ropes candles buttons beads marbles badges bottles baskets letters maps pebbles "
    "lemons melons bricks tiles feathers jars"
)
ITEMS = tuple(_ITEM_NAMES.split())

OPENINGS = (
    "{name} gathers {n} {items}.",
    "{name} collects {n} {items}.",
    "{name} inherits {n} {items}.",
    "{name} fetches {n} {items}.",
    "The attic of {name} holds {n} {items}.",
    "{n} {items} arrive for {name}.",
)
STEPS: dict[str, tuple[str, ...]] = {
    "+": (
        "{other} lends {him} {n}.",
        "{he} borrows {n} from {other}.",
        "{n} turn up.",
        "{he} collects {n}.",
        "{he} inherits {n}.",
        "{n} arrive.",
        "{other} hands {him} {n}.",
        "{he} earns {n}.",
        "{he} fetches {n}.",
        "{n} stolen ones come back.",
        "{he} accepts {n} from {other}.",
        "{other} returns {n} to {him}.",
    ),
    "-": (
        "{he} donates {n}.",
        "{he} lends {other} {n}.",
        "{n} are stolen.",
        "{n} vanish.",
        "{he} misplaces {n}.",
        "{other} ruins {n}.",
        "{he} discards {n}.",
        "{he} returns {n} to {other}.",
        "{he} hands {other} {n}.",
        "{n} crack.",
        "{other} borrows {n} from {him}.",
        "{he} burns {n}.",
    ),
    "*": (
        "{he} swaps each for {n}.",
        "{he} trades each for {n}.",
        "Each one splits into {n}.",
        "For each one, {n} come back.",
    ),
    "/": (
        "One in {n} remains.",
        "{he} swaps every {n} for one.",
        "{he} trades every {n} for one.",
        "{he} holds on to one in {n}.",
    ),
}
QUESTION = "How many?"

_ANSWER = re.compile(r"^#### (\d+)$")


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _change(rng: Random, total: int, operator: str) -> tuple[int, int] | None:
    """Draw an operand; None where none keeps the total whole and within 2 to `LARGEST`."""
    if operator == "+":
        operands = [n for n in AMOUNT if total + n <= LARGEST]
    elif operator == "-":
        operands = [n for n in AMOUNT if total - n >= 2]
    elif operator == "*":
        operands = [n for n in FACTORS if total * n <= LARGEST]
    else:
        operands = [n for n in FACTORS if total % n == 0 and total // n >= 2]
    if not operands:
        return None
    operand = rng.choice(operands)
    result = {"+": total + operand, "-": total - operand, "*": total * operand, "/": total // operand}[operator]
    return operand, result


def generate(rng: Random) -> Example:
    """Draw one problem; neighbouring steps never use the same operator."""
    (name, he, him), (other, *_) = rng.sample(PEOPLE, 2)
    cast = {"name": name, "he": he, "him": him, "other": other, "items": rng.choice(ITEMS)}
    total, steps = rng.choice(START), rng.choices((3, 4), weights=(3, 1))[0]
    sentences = [rng.choice(OPENINGS).format(n=total, **cast)]
    equations: list[str] = []
    last = ""
    while len(equations) < steps:
        operator = rng.choices("+-*/", weights=(3, 3, 1, 2))[0]
        change = None if operator == last else _change(rng, total, operator)
        if change is None:
            continue
        operand, result = change
        sentences.append(_capital(rng.choice(STEPS[operator]).format(n=operand, **cast)))
        equations.append(f"{total}{operator}{operand}={result}")
        total, last = result, operator
    prompt = " ".join([*sentences, QUESTION]) + "\n"
    return Example(prompt=prompt, completion="\n".join([*equations, f"#### {total}"]))


def final_answer(text: str) -> int | None:
    """Read the number of the marker line, which must be the last line; None if it is not there."""
    lines = text.strip().splitlines()
    found = _ANSWER.match(lines[-1].strip()) if lines else None
    return int(found.group(1)) if found else None


class PocketMath(DrawnTask):
    """Word problems; scored by exact match of the number on the final `#### N` line."""

    name: ClassVar[str] = "pocket-math"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "exact match"
    sizes: ClassVar[dict[Split, int]] = SIZES
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=2e-3, max_new_tokens=52)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """A worked answer met in training could be recalled for another prompt, so it must be new as well."""
        return {example.prompt, example.completion}

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the last line of the generated text is the marker with the right number, else 0."""
        wanted = final_answer(example.completion)
        return float(wanted is not None and final_answer(generated) == wanted)
