"""The benchmark tasks by name."""

from benchmarks.tasks.base import SPLITS, Example, Medium, Recipe, Split, Task
from benchmarks.tasks.registry import TASKS, create_task

__all__ = ["SPLITS", "TASKS", "Example", "Medium", "Recipe", "Split", "Task", "create_task"]
