"""How questions over several tasks are cut: all that can be run together first, then each alone."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.claims.scope import Scope


def over_tasks(scope: Scope) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield (name, tasks, whether it is a part of another) of the pool, if there are several tasks, and of each.

    A task that this machine cannot run, for want of a sandbox or a base, leaves the pool, and the pool's name says so.
    """
    usable = scope.usable()
    pooled = len(usable) > 1
    if pooled:
        count = len(scope.tasks)
        yield ("all tasks" if len(usable) == count else f"{len(usable)} of {count} tasks"), usable, False
    for task in scope.tasks:
        yield task, (task,), pooled
