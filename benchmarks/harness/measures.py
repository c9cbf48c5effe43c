"""A task of the lm-evaluation-harness as something that a subject is scored on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.harness.catalogue import Catalogue, check_installed
from benchmarks.harness.evaluation import evaluate, write_samples


@dataclass(frozen=True, kw_only=True)
class HarnessOptions:
    """How tasks are run, see `evaluation.evaluate`.

    Attributes:
        limit: Examples of each task; None takes all.
        num_fewshot: Examples in front of each prompt; None leaves it to the task.
        batch_size: Examples at a time, or "auto".
        chat_template: Whether prompts go through the tokenizer's chat template.
        unsafe: Whether tasks may run what the model writes.
    """

    limit: int | None = None
    num_fewshot: int | None = None
    batch_size: int | str = 16
    chat_template: bool = False
    unsafe: bool = False


class HarnessTask:
    """A task, or a group of tasks, of a catalogue; loaded once for all subjects.

    Args:
        name: Its name.
        catalogue: Where it comes from.
        harness: What `check_installed` returned.
        options: How it is run.
    """

    def __init__(self, name: str, catalogue: Catalogue, harness: str, options: HarnessOptions) -> None:
        self.name = name
        self.identity = catalogue.identity(name)
        self.harness = harness
        self.num_fewshot = options.num_fewshot
        self.limit = options.limit
        self.chat_template = options.chat_template
        self._catalogue = catalogue
        self._options = options
        self._loaded: dict[str, Any] | None = None

    def prepare(self) -> None:
        """Load the task with its data."""
        self._loaded = self._catalogue.load(self.name, unsafe=self._options.unsafe)

    def run(
        self, model: Any, tokenizer: Any, *, subject: str, folder: Path, on_progress: Callable[[float], None]
    ) -> dict[str, Any]:
        """Score a model."""
        if self._loaded is None:
            self.prepare()
        assert self._loaded is not None
        found = evaluate(
            model,
            tokenizer,
            self.name,
            self._loaded,
            limit=self.limit,
            num_fewshot=self.num_fewshot,
            batch_size=self._options.batch_size,
            chat_template=self.chat_template,
            on_progress=on_progress,
        )
        write_samples(folder / "samples", found.samples)
        libraries = {name: version(name) for name in ("lm_eval", "datasets")}
        return {"batch_size": self._options.batch_size, "tasks": found.tasks, "environment": libraries}


def harness_tasks(
    names: Sequence[str],
    *,
    include: Sequence[Path],
    pocket_folder: Path,
    options: HarnessOptions,
    flag: str = "--tasks",
) -> list[HarnessTask]:
    """Return tasks by name, not loaded yet.

    Args:
        names: Of tasks, groups of tasks or tags.
        include: Folders with YAML tasks of the user's own.
        pocket_folder: Where pocket tasks are written, if any is asked for.
        options: How they are run.
        flag: The flag that named them, for messages.

    Raises:
        UsageError: lm-eval is not installed, or a name is unknown.
    """
    harness = check_installed()
    catalogue = Catalogue(names, include=include, pocket_folder=pocket_folder, flag=flag)
    return [HarnessTask(name, catalogue, harness, options) for name in names]
