from __future__ import annotations

import hashlib
from pathlib import Path

import benchmarks.pocket
from benchmarks.models import SHIPPED, fingerprint, locate_model, shipped_models
from benchmarks.tasks import TASKS, Task, create_task

FROZEN = Path(benchmarks.pocket.__file__).with_name("FROZEN.md")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    lines = FROZEN.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    table = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return table[2:]


def test_tasks_are_what_was_frozen() -> None:
    """A task is frozen once it was calibrated, which it can be once its base is there."""
    frozen = {name: (version, metric, data) for name, version, metric, data, *_ in rows("Tasks")}
    assert frozen == {
        name: (cls.version, scaled(cls), create_task(name).fingerprint())
        for name, cls in TASKS.items()
        if cls.base in shipped_models()
    }


def scaled(task: type[Task]) -> str:
    """A metric with its scale, if that is not per cent."""
    return task.metric if task.full_marks == 100 else f"{task.metric} (of {task.full_marks})"


def test_recipes_are_what_was_calibrated() -> None:
    for name, _, _, _, steps, batch_size, learning_rate, *_ in rows("Tasks"):
        recipe = TASKS[name].recipe
        assert (recipe.steps, recipe.batch_size, recipe.learning_rate) == (
            int(steps),
            int(batch_size),
            float(learning_rate),
        )


def test_bases_are_what_was_frozen() -> None:
    assert [name for name, _ in rows("Bases")] == shipped_models()
    for name, found in rows("Bases"):
        assert fingerprint(locate_model(name)) == found


def test_judges_are_what_was_frozen() -> None:
    found = [(file, hashlib.sha256((SHIPPED / file).read_bytes()).hexdigest()[:16]) for file, _, _ in rows("Judges")]
    assert found == [(file, frozen) for file, _, frozen in rows("Judges")]
    assert found
