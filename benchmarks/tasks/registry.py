"""The tasks by name. A new task is a file beside this one and a row here."""

from __future__ import annotations

from benchmarks.errors import UsageError, nearest
from benchmarks.tasks.base import Task
from benchmarks.tasks.pocket_chat import PocketChat
from benchmarks.tasks.pocket_code import PocketCode
from benchmarks.tasks.pocket_icons import PocketIcons
from benchmarks.tasks.pocket_instruct import PocketInstruct
from benchmarks.tasks.pocket_math import PocketMath
from benchmarks.tasks.pocket_nlu_acceptability import PocketNluAcceptability
from benchmarks.tasks.pocket_nlu_paraphrase import PocketNluParaphrase

TASKS: dict[str, type[Task]] = {
    cls.name: cls
    for cls in (
        PocketMath,
        PocketCode,
        PocketChat,
        PocketInstruct,
        PocketNluAcceptability,
        PocketNluParaphrase,
        PocketIcons,
    )
}


def create_task(name: str) -> Task:
    """Create a task by name.

    Raises:
        UsageError: If there is no task of that name; names the nearest one.
    """
    if name not in TASKS:
        raise UsageError(f"--tasks: unknown task {name!r}{nearest(name, TASKS)}; known: {', '.join(TASKS)}")
    return TASKS[name]()
