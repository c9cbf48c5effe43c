"""The tasks by name. A new task is a file beside this one and a row here."""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import UsageError, nearest
from benchmarks.tasks import glue, instruction_sets
from benchmarks.tasks.base import Task
from benchmarks.tasks.data_task import DataTask
from benchmarks.tasks.dreambooth import DreamBooth
from benchmarks.tasks.own_data import PREFIX, own_data
from benchmarks.tasks.own_pictures import PREFIX as PICTURES
from benchmarks.tasks.own_pictures import own_pictures
from benchmarks.tasks.pocket_chat import PocketChat
from benchmarks.tasks.pocket_code import PocketCode
from benchmarks.tasks.pocket_icons import PocketIcons
from benchmarks.tasks.pocket_instruct import PocketInstruct
from benchmarks.tasks.pocket_math import PocketMath
from benchmarks.tasks.pocket_nlu_acceptability import PocketNluAcceptability
from benchmarks.tasks.pocket_nlu_paraphrase import PocketNluParaphrase

#: Tasks that ship with their data.
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
_DATA_TASKS: tuple[type[DataTask], ...] = (*glue.TASKS, *instruction_sets.TASKS, DreamBooth)
#: Tasks on published data, from the hub or from files.
DATA_TASKS: dict[str, type[DataTask]] = {cls.name: cls for cls in _DATA_TASKS}


def create_task(name: str, *, data: Path | None = None) -> Task:
    """Create a task by name; nothing is read yet.

    Args:
        name: Name of a task, `jsonl:FILE` or `dreambooth:FOLDER`.
        data: Where the local data of a task on published data lie, or one's own data where the task is named as in a
            run.

    Raises:
        UsageError: If there is no task of that name; names the nearest one.
    """
    if name.startswith(PREFIX):
        return own_data(Path(name.removeprefix(PREFIX)).expanduser())
    if name.startswith(PICTURES):
        return own_pictures(Path(name.removeprefix(PICTURES)).expanduser())
    if name in TASKS:
        return TASKS[name]()
    if name in DATA_TASKS:
        return DATA_TASKS[name](data)
    if data is not None and name.startswith("jsonl-"):
        return own_data(data)
    if data is not None and name.startswith("dreambooth-"):
        return own_pictures(data)
    known = [*TASKS, *DATA_TASKS]
    listed = ", ".join([*known, f"{PREFIX}FILE", f"{PICTURES}FOLDER"])
    raise UsageError(f"--tasks: unknown task {name!r}{nearest(name, known)}; known: {listed}")
