"""The benchmark tasks by name."""

from benchmarks.tasks.base import SPLITS, Example, Medium, Message, Recipe, Split, Task
from benchmarks.tasks.registry import DATA_TASKS, TASKS, create_task

__all__ = [
    "DATA_TASKS",
    "SPLITS",
    "TASKS",
    "Example",
    "Medium",
    "Message",
    "Recipe",
    "Split",
    "Task",
    "create_task",
]
