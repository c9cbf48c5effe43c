"""The sentences that the story curriculum is built from: openings, changes by operator, and questions.

Kept apart from the code so that a test can hold every sentence here against those of a fine-tuning task.
`{n}` is a number (`{g}` one of groups), `{items}` a plural; `{name}`, `{he}` and `{him}` are the person it is about and
`{other}` is a second one. The key 0 of a table of changes holds the sentences that fit any operand, the other keys
those that name their operand in words ("half of them").
"""

from __future__ import annotations

ITEMS = [
    "apples",
    "books",
    "pens",
    "coins",
    "cards",
    "stones",
    "balls",
    "cups",
    "toys",
    "flowers",
    "tickets",
    "eggs",
    "keys",
    "rings",
    "spoons",
    "kites",
]

TITLES = ("", "", "Story: ", "Question: ")
CONNECTIVES = ("", "", "", "Then ", "Later ", "After that ", "Next ")

OPENINGS = (
    "{name} has {n} {items}.",
    "{name} owns {n} {items}.",
    "There are {n} {items} in the house of {name}.",
    "{name} starts with {n} {items}.",
    "In the shop of {name} there are {n} {items}.",
    "{name} puts {n} {items} on the table.",
    "At first {name} has {n} {items}.",
    "{n} {items} belong to {name}.",
    "A box of {name} has {n} {items} in it.",
)
GROUPS = (
    "{name} has {g} boxes with {n} {items} in each.",
    "There are {g} bags of {n} {items} on the table of {name}.",
    "{name} buys {g} packs of {n} {items}.",
    "{name} makes {g} rows of {n} {items}.",
)
STEPS: dict[str, dict[int, tuple[str, ...]]] = {
    "+": {
        0: (
            "{he} buys {n} more.",
            "{he} finds {n} more {items}.",
            "{other} gives {him} {n} more.",
            "{he} gets {n} {items} from {other}.",
            "{he} picks {n} more.",
            "{he} adds {n} {items}.",
            "{he} wins {n}.",
            "{he} makes {n} new {items}.",
            "{he} receives {n} as a present.",
            "{other} brings {n} {items}.",
            "the number goes up by {n}.",
            "{n} {items} are added.",
            "{he} takes {n} from {other}.",
            "a friend comes with {n} more {items}.",
            "{n} new {items} come.",
            "{he} has {n} more than before.",
        )
    },
    "-": {
        0: (
            "{he} gives {n} to {other}.",
            "{he} loses {n}.",
            "{he} sells {n} {items}.",
            "{he} breaks {n} of them.",
            "{n} {items} are taken away.",
            "{other} takes {n} of them.",
            "{he} throws away {n}.",
            "{he} uses {n} {items}.",
            "{he} drops {n} in the river.",
            "{n} of them go missing.",
            "the number goes down by {n}.",
            "{he} sends {n} {items} to {other}.",
            "{n} are old and leave the house.",
            "{he} has {n} fewer than before.",
            "a dog runs off with {n} of them.",
            "{he} forgets {n} {items} at school.",
        )
    },
    "*": {
        0: (
            "soon there are {n} times as many.",
            "the number becomes {n} times as large.",
            "now {he} has {n} times as many {items}.",
            "{he} works until there are {n} times as many.",
        ),
        2: ("{he} doubles the number.", "the number of {items} doubles.", "{he} gets as many again."),
        3: ("{he} triples the number.", "the number of {items} triples."),
    },
    "/": {
        0: (
            "{he} makes {n} equal groups and keeps one.",
            "the number is divided by {n}.",
            "{he} puts them in {n} equal bags and takes one bag.",
        ),
        2: ("half of them are lost.", "{he} gives half of them to {other}.", "{he} keeps half of them."),
        3: ("{he} keeps a third of them.", "only one third of them is left."),
        4: ("{he} keeps a quarter of them.", "only one quarter of them is left."),
    },
}
QUESTIONS = (
    "how many {items} does {name} have now?",
    "how many {items} are there now?",
    "how many {items} are left in the end?",
    "how many does {he} have at the end?",
    "what is the number of {items} now?",
)
