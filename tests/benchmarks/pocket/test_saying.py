"""What sentences of `saying` mean, read by an oracle that shares nothing with the generator."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from benchmarks.pocket.curricula import ALL_CURRICULA, draw
from benchmarks.pocket.curricula.meanings import (
    KINDS,
    Comparison,
    Event,
    Group,
    Meaning,
    Sequence,
    Transfer,
    change_meaning,
    draw_meaning,
)
from benchmarks.pocket.curricula.saying import say, say_plainly
from tests.benchmarks.pocket.meaning import meaning


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("The baker helps the farmers.", "The farmers are assisted by the baker.", True),
        ("The baker helps the farmers.", "The farmers assist the baker.", False),
        ("The baker did not hide the odd lamp.", "The strange lamp was not concealed by the baker.", True),
        ("The baker hid the odd lamp.", "The strange lamp is concealed by the baker.", False),
        ("The baker gave the farmer the lamp.", "The farmer got the lamp from the baker.", True),
        ("The baker bought the lamp from the farmer.", "The baker sold the farmer the lamp.", False),
        ("Before the baker met the farmer, the sailor called the doctor.",
         "The baker encountered the farmer after the doctor was phoned by the sailor.", True),
        ("The bakers are taller than the farmer.", "The bakers are shorter than the farmer.", False),
        ("In the garden, the baker met the farmer.", "The baker met the farmer at the market.", False),
    ],
)  # fmt: skip
def test_the_oracle_reads_sentences(first: str, second: str, same: bool) -> None:
    assert (meaning(first) == meaning(second)) == same


def test_every_way_of_saying_means_the_same_and_a_changed_meaning_another() -> None:
    for index in range(4_000):
        rng = Random(f"say/{index}")
        meant = draw_meaning(rng)
        first, second, plain = say(rng, meant), say(rng, meant), say_plainly(meant)
        assert meaning(first) == meaning(second) == meaning(plain)
        assert meaning(say(rng, change_meaning(rng, meant))) != meaning(first)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_there_are_several_ways_and_the_plain_one_is_among_them(kind: str) -> None:
    for index in range(8):
        rng = Random(f"ways/{index}")
        meant = draw_meaning(rng, (kind,))
        ways = {say(rng, meant) for _ in range(6_000)}
        assert len(ways) > 1
        assert say_plainly(meant) in ways


BAKER, FARMERS = Group("baker", False), Group("farmer", True)
LAMP = Group("lamp", False, 2)
HID = Event(BAKER, 1, LAMP, "past", True, "at the market")
MET = Event(BAKER, 3, FARMERS, "past", False, "")


@pytest.mark.parametrize(
    ("meant", "plain"),
    [
        (HID, "The baker did not hide the strange lamp at the market."),
        (Sequence(MET, Event(FARMERS, 0, LAMP, "past", False, "")),
         "The baker met the farmers before the farmers bought the strange lamp."),
        (Transfer(FARMERS, BAKER, LAMP, True), "The farmers sold the strange lamp to the baker."),
        (Transfer(BAKER, FARMERS, LAMP, False), "The baker gave the strange lamp to the farmers."),
        (Comparison(FARMERS, BAKER, 0), "The farmers are taller than the baker."),
    ],
)  # fmt: skip
def test_plainly_is_the_first_of_all_choices(meant: Meaning, plain: str) -> None:
    assert say_plainly(meant) == plain


def test_restatements_mean_the_same_and_are_the_same_for_one_meaning() -> None:
    answers: dict[Any, str] = {}
    for index in range(1_500):
        item = draw("restating", ALL_CURRICULA["restating"], index)
        given = item.prompt.removeprefix("Plainly: ").removesuffix("\n")
        assert meaning(given) == meaning(item.completion)
        assert answers.setdefault(meaning(given), item.completion) == item.completion
