from __future__ import annotations

from benchmarks.harness.rules import instruct
from benchmarks.tasks import create_task


def test_an_answer_is_judged_by_the_instruction_of_its_index() -> None:
    first, second = create_task("pocket-instruct").examples("test")[:2]
    assert instruct({"index": 1}, [second.completion]) == {"strict_accuracy": 1.0}
    assert instruct({"index": 1}, [first.completion]) == {"strict_accuracy": 0.0}
