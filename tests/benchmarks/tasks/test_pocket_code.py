from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.errors import UsageError
from benchmarks.sandbox import SandboxError
from benchmarks.tasks import pocket_code
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_code import SIZES, VARIABLES, PocketCode, expected, hidden_lists

TASK = PocketCode()
EXAMPLE = Example(
    prompt='def f(xs):\n    """Keep those of xs over 5, then count them and add 2."""',
    completion="\n    return len([x for x in xs if x > 5]) + 2",
)


@pytest.fixture
def isolated() -> None:
    try:
        TASK.check()
    except UsageError as error:
        pytest.skip(str(error))


def test_splits_share_no_description() -> None:
    described = [
        {re.sub("|".join(VARIABLES), "", e.prompt.split("\n", 1)[1]) for e in TASK.examples(split)} for split in SPLITS
    ]
    assert [len(part) for part in described] == [SIZES[split] for split in SPLITS]
    assert len(set.union(*described)) == sum(SIZES.values())


def test_hidden_lists_are_fixed_and_tell_functions_apart() -> None:
    lists = hidden_lists(EXAMPLE)
    assert lists == hidden_lists(replace(EXAMPLE))
    assert [expected(EXAMPLE, values) for values in lists] == [len([x for x in v if x > 5]) + 2 for v in lists]
    assert len({str(values) for values in lists}) == pocket_code.HIDDEN_TESTS


@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize(
    ("written", "score"),
    [
        (EXAMPLE.completion, 1.0),
        ("\n    n = 0\n    for x in xs:\n        n += x > 5\n    return n + 2", 1.0),
        ("\n    return len([x for x in xs if x >= 5]) + 2", 0.0),
        ("\n    return float(len([x for x in xs if x > 5]) + 2)", 0.0),
        ("\n    return len(xs", 0.0),
        ("\n    while True:\n        pass", 0.0),
        ("\n    import os\n    os._exit(0)", 0.0),
        ("", 0.0),
    ],
)
def test_a_function_is_judged_by_what_it_returns(written: str, score: float) -> None:
    assert TASK.score(EXAMPLE, written) == score
    assert TASK.scores([EXAMPLE], [written]) == [score]


@pytest.mark.usefixtures("isolated")
def test_every_function_of_the_task_passes_its_own_tests() -> None:
    # Brackets, so that the text differs and is really run.
    examples = TASK.examples("test")[:40]
    written = [e.completion.replace("return ", "return (") + ")" for e in examples]
    assert TASK.scores(examples, written) == [1.0] * len(examples)


def test_without_isolation_the_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise SandboxError("programs cannot be isolated here: no namespaces")

    monkeypatch.setattr(pocket_code, "check_isolation", failing)
    with pytest.raises(UsageError, match="--tasks: pocket-code runs what models write: programs cannot be isolated"):
        TASK.check()


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of train, validation, test"):
        TASK.examples("dev")  # type: ignore[arg-type]
