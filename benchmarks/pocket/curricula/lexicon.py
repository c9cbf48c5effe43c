"""The English words that the curricula draw on: people, things, places, qualities, and verbs of giving and taking.

The verbs carry what they do to who holds a thing, not to a number: the grammar curriculum teaches that after
"Ann lends the lamp to Bob" it is Bob who has it. Story templates and fine-tuning tasks are written elsewhere and
never read from here; they only share words with it, as any text shares words with any other.
"""

from __future__ import annotations

#: (name, subject pronoun, object pronoun)
PEOPLE = tuple(
    (name, "she", "her")
    for name in [
        "Ann",
        "Mia",
        "Lucy",
        "Sara",
        "Emma",
        "Nina",
        "Ida",
        "Tess",
        "Wilma",
        "Zoe",
        "Clara",
        "Hana",
        "Petra",
        "Ruth",
    ]
) + tuple(
    (name, "he", "him")
    for name in [
        "Bob",
        "Tom",
        "Ben",
        "Max",
        "Leo",
        "Sam",
        "Rex",
        "Omar",
        "Jonas",
        "Felix",
        "Hugo",
        "Ivan",
        "Karl",
        "Nils",
    ]
)

JOBS = [
    "baker",
    "farmer",
    "teacher",
    "doctor",
    "sailor",
    "painter",
    "driver",
    "gardener",
    "miller",
    "tailor",
    "keeper",
    "dealer",
]

#: Singular and plural.
THINGS = tuple(
    (word, word + "s")
    for word in [
        "apple",
        "book",
        "pen",
        "coin",
        "card",
        "stone",
        "ball",
        "cup",
        "toy",
        "flower",
        "ticket",
        "egg",
        "stamp",
        "shell",
        "lamp",
        "key",
        "ring",
        "rope",
        "candle",
        "button",
        "bead",
        "marble",
        "badge",
        "ribbon",
        "bottle",
        "basket",
        "letter",
        "map",
        "spoon",
        "kite",
        "pebble",
        "lemon",
        "melon",
        "brick",
        "tile",
        "feather",
        "acorn",
        "magnet",
        "sticker",
        "jar",
        "crate",
        "sack",
    ]
)

PLACES = [
    "shop",
    "garden",
    "market",
    "river",
    "kitchen",
    "school",
    "house",
    "barn",
    "library",
    "station",
    "harbour",
    "attic",
    "cellar",
    "shed",
]

COLOURS = ["red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "golden"]
SIZES = ["small", "big", "tiny", "large", "old", "new", "heavy", "light", "round", "long"]

#: The subject ends up with the thing; the giver, where there is one, is named after "from".
GAINING = [
    "finds",
    "buys",
    "collects",
    "gathers",
    "borrows",
    "wins",
    "receives",
    "earns",
    "takes",
    "accepts",
    "inherits",
    "fetches",
]
#: The subject ends up without the thing and the person named after "to" with it.
PASSING = ["gives", "lends", "donates", "sells", "returns", "hands", "sends", "posts", "passes", "offers"]
#: The subject ends up without the thing and nobody else gets it.
LOSING = ["loses", "breaks", "drops", "misplaces", "ruins", "discards", "burns", "wastes", "forgets"]
#: The subject has the one thing instead of the other afterwards.
EXCHANGING = ["swaps", "trades", "exchanges"]

#: What several things do on their own, and what is true of them afterwards.
HAPPENINGS = {
    "arrive": "here",
    "turn up": "here",
    "come back": "here",
    "appear": "here",
    "remain": "here",
    "are stolen": "gone",
    "vanish": "gone",
    "roll away": "gone",
    "spoil": "bad",
    "crack": "broken",
    "split": "broken",
    "fall over": "down",
}
ANIMALS = ["cat", "dog", "cow", "hen", "fox", "owl", "horse", "goat", "duck", "sheep", "mouse", "bear"]
FRUITS = ["apple", "pear", "plum", "cherry", "grape", "lemon", "peach", "melon", "fig", "banana"]
CITIES = ["Paris", "Rome", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Berlin", "Madrid", "Vienna"]
