from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable

import pytest

from benchmarks.pocket.curricula import ALL_CURRICULA, CURRICULA, T5_TOKEN_SHARES, TOKEN_SHARES, Item, draw, is_held_out
from benchmarks.pocket.curricula.arithmetic import EQUATIONS
from benchmarks.pocket.curricula.number_words import spell
from benchmarks.pocket.curricula.stories import AMOUNT, START
from tests.benchmarks.pocket.equations import check_chain, is_true

ITEMS = 400


def drawn(name: str, *, held_out: bool = False, items: int = ITEMS) -> list[Item]:
    return [draw(name, ALL_CURRICULA[name], index, held_out=held_out) for index in range(items)]


# Recorded once; another digest means that every pocket base has to be made again.
DIGESTS = {
    "arithmetic": "30ae83ee6519db45",
    "stories": "402d4c2ddfa6f353",
    "grammar": "db28a0bf095ae2f6",
    "lists": "55b5ec96ed90d99e",
    "strings": "9788f92a91e4be64",
    "functions": "e943cd193350f9b9",
    "instructions": "ab36f4bb4e9d4cf0",
    "dialogues": "17efecdda393a70a",
    "sentences": "8cd9f7c1fbf59694",
    "wording": "505b7ed86afca8be",
    "restating": "5716d09ce2994e73",
    "reading": "235d2710a681b27c",
    "repairs": "5b61b65ef79dffff",
    "choosing": "11d3fcb12e180331",
}


@pytest.mark.parametrize("name", ALL_CURRICULA)
def test_documents_are_the_recorded_ones_on_any_machine(name: str) -> None:
    text = "\0".join(item.prompt + "\1" + item.completion for item in drawn(name, items=64))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", ALL_CURRICULA)
def test_a_document_depends_on_its_index_alone(name: str) -> None:
    backwards = [draw(name, ALL_CURRICULA[name], index) for index in reversed(range(40))]
    assert backwards[::-1] == drawn(name, items=40)
    assert draw(name, ALL_CURRICULA[name], 3, seed=1) != draw(name, ALL_CURRICULA[name], 3)


@pytest.mark.parametrize("name", ALL_CURRICULA)
def test_held_out_documents_are_never_trained_on(name: str) -> None:
    held_out = {item.text for item in drawn(name, held_out=True, items=60)}
    assert all(is_held_out(text) for text in held_out)
    assert not held_out & {item.text for item in drawn(name, items=2_000)}


@pytest.mark.parametrize("name", ALL_CURRICULA)
def test_prompts_leave_the_space_to_the_token_that_follows(name: str) -> None:
    # Paragraphs alone are plain text.
    assert all(bool(item.prompt) == (name != "sentences") for item in drawn(name))
    assert all(not item.prompt.endswith(" ") and item.completion for item in drawn(name))


def test_a_curriculum_without_variety_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'constant'.*add variety"):
        draw("constant", lambda _: Item("a", "b"), 0, held_out=not is_held_out("ab"))


def test_shares_leave_room_for_the_standard_library() -> None:
    assert TOKEN_SHARES.keys() == CURRICULA.keys()
    assert 0.0 < 1 - sum(TOKEN_SHARES.values()) < 0.5
    assert T5_TOKEN_SHARES.keys() == ALL_CURRICULA.keys()
    assert 0.0 < 1 - sum(T5_TOKEN_SHARES.values()) < 0.5


def test_numbers_are_spelt() -> None:
    expected = {
        0: "zero",
        13: "thirteen",
        20: "twenty",
        47: "forty-seven",
        100: "one hundred",
        999: "nine hundred and ninety-nine",
    }
    assert {number: spell(number) for number in expected} == expected
    assert len({spell(number) for number in range(1000)}) == 1000
    with pytest.raises(ValueError, match="found 1000"):
        spell(1000)


def _value(words: str) -> int:
    """Read number words back, by a table built from the tens and ones alone."""
    ones = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    teens = [
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ]
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    values = {"zero": 0} | dict(zip(ones, range(1, 10), strict=True)) | dict(zip(teens, range(10, 20), strict=True))
    values |= dict(zip(tens, range(20, 100, 10), strict=True))
    total = 0
    for word in words.replace("-", " ").replace(" and ", " ").split():
        total = total * 100 if word == "hundred" else total + values[word]
    return total


def test_arithmetic_is_right() -> None:
    seen = set()
    for item in drawn("arithmetic", items=2_000):
        if "=" in item.prompt:
            lines = item.text.split("\n")
            assert len(lines) == EQUATIONS
            assert all(map(is_true, lines)), item
            seen.add("digits")
        elif match := re.fullmatch(r"(What is|Work out) (.+) (plus|minus|times|divided by) (.+)[?.]\n", item.prompt):
            _, left, word, right = match.groups()
            operation: Callable[[int, int], float] = {
                "plus": int.__add__,
                "minus": int.__sub__,
                "times": int.__mul__,
                "divided by": int.__truediv__,
            }[word]
            lines = item.completion.split("\n")
            assert operation(_value(left), _value(right)) == _value(lines[-1])
            assert all(map(is_true, lines[:-1]))
            seen.add("words")
        elif match := re.fullmatch(r"Write (.+) in (words|digits):", item.prompt):
            shown, form = match.groups()
            given = item.completion.strip()
            assert (_value(given) == int(shown)) if form == "words" else (_value(shown) == int(given))
            seen.add("spelling")
        elif match := re.fullmatch(r"Which is (larger|smaller), (\d+) or (\d+)\?", item.prompt):
            numbers = sorted(map(int, match.groups()[1:]))
            assert int(item.completion) == numbers[match[1] == "larger"]
            seen.add("comparison")
        else:
            numbers = [int(number) for number in re.findall(r"\d+", item.prompt)]
            assert int(item.completion) - numbers[-1] == numbers[1] - numbers[0]
            seen.add("sequence")
    assert seen == {"digits", "words", "spelling", "comparison", "sequence"}


def test_worked_answers_of_stories_hold() -> None:
    for item in drawn("stories", items=3_000):
        *equations, answer = item.completion.split("\n")
        assert 1 <= len(equations) <= 3
        assert check_chain(equations) == int(answer.removeprefix("Answer: "))
        # Every operand that is no running total stands in the story, in digits or in words.
        told = {int(number) for number in re.findall(r"\d+", item.prompt)}
        results = {int(equation.split("=")[1]) for equation in equations}
        for equation in equations:
            for operand in map(int, re.split(r"[-+*/]", equation.split("=")[0])):
                named = {2: "doubl|half|as many again", 3: "tripl|third", 4: "quarter"}.get(operand, "$^")
                spelt = rf"\b{spell(operand)}\b|{named}"
                assert operand in told | results or re.search(spelt, item.prompt.lower()), (item, operand)


def test_chains_start_and_change_within_the_declared_ranges() -> None:
    """An opening names the first quantity; plain changes are the operands of sums and differences."""
    for item in drawn("stories", items=1_000):
        first, *later = item.completion.split("\n")[:-1]
        if " costs " in item.prompt or "*" in first or "together" in item.prompt:
            continue
        assert int(re.split(r"[-+/]", first)[0]) in START
        for equation in [first, *later]:
            if match := re.match(r"\d+[-+](\d+)=", equation):
                assert int(match[1]) in AMOUNT


def test_results_of_lists_and_strings_by_a_second_rule() -> None:
    checked = 0
    for name in ("lists", "strings"):
        for item in drawn(name, items=3_000):
            task, result = item.prompt.removesuffix(" ->"), item.completion.removeprefix(" ")
            if match := re.fullmatch(r"(reverse|sort|sum|max|min|len) (\[.*\])", task):
                values = eval(match[2])
                flipped: list[object] = []
                for value in values:
                    flipped.insert(0, value)
                ordered = sorted(values)
                expected = {
                    "reverse": flipped,
                    "sort": ordered,
                    "max": ordered[-1],
                    "min": ordered[0],
                    "len": sum(1 for _ in values),
                    "sum": -sum(-value for value in values if match[1] == "sum"),
                }[match[1]]
                assert result == str(expected)
                checked += 1
            elif match := re.fullmatch(r"reverse '(\w+)'", task):
                assert [*result[1:-1]] == [match[1][-1 - place] for place in range(len(match[1]))]
                checked += 1
            elif match := re.fullmatch(r"count '(\w)' in '(\w+)'", task):
                assert int(result[1:-1]) == len(re.findall(match[1], match[2]))
                checked += 1
    assert checked > 500


def test_functions_return_what_they_say() -> None:
    calls = 0
    for item in drawn("functions"):
        code, _, shown = item.text.partition("\n\n")
        scope: dict[str, object] = {}
        exec(code, scope)
        for line in shown.splitlines():
            assert eval(line, scope) is True, item
            calls += 1
    assert calls > ITEMS // 2


def test_instructions_are_obeyed() -> None:
    separators = {"commas": ", ", "dashes": " - ", "slashes": "/", "semicolons": "; ", "spaces": " "}
    checked = 0
    for item in drawn("instructions", items=1_000):
        request, answer = item.prompt.split("\n")[0], item.completion.strip()
        if match := re.search(r"Write the \w+ (.+?)( in [a-z ]+)?, separated by (\w+)\.", request):
            words, wish = match[1].split(), (match[2] or "").strip()
            given = answer.split(separators[match[3]])
            assert sorted(map(str.lower, given)) == sorted(map(str.lower, words))
            assert (given[0] == words[-1]) if wish == "in reverse order" else (given[0].lower() == words[0].lower())
            assert answer.isupper() == (wish == "in upper case")
            checked += 1
        elif match := re.search(r"Say (\w+) (\w+) times", request):
            assert answer.split() == [match[1]] * _value(match[2])
            checked += 1
    assert checked > 300


def test_dialogues_answer_from_the_first_turn() -> None:
    for item in drawn("dialogues"):
        first, last = item.prompt.split("\n")[0], item.prompt.split("\n")[2]
        if "my list" not in first.lower():
            fact = item.completion.removesuffix(".").split()[-1]
            assert fact in first
        elif "Remove" in last:
            gone = last.removeprefix("User: Remove ").removesuffix(".")
            assert gone in first
            assert gone not in item.completion


def test_grammar_keeps_track_of_the_holder() -> None:
    """The last sentence that names the thing decides who has it."""
    checked = 0
    for item in drawn("grammar", items=2_000):
        if " Who has the " not in item.prompt:
            continue
        *_, last, _ = item.prompt.split(". ") if ". " in item.prompt else ("", item.prompt, "")
        answer = item.completion
        if match := re.search(r" to (.+)$", last):
            assert answer.lower().startswith(match[1].lower())
        elif " from " in last:
            assert answer.split()[0] == last.split()[0]
        checked += 1
    assert checked > 200


def test_generators_use_only_the_given_random_state() -> None:
    random.seed(1)
    before = random.getstate()
    for curriculum in ALL_CURRICULA.values():
        curriculum(random.Random(0))
    assert random.getstate() == before
