"""The tasks of the lm-evaluation-harness by name: found, loaded with their data, and told apart by content.

Names are looked up in the user's own folders (`--include-path`), among the pocket tasks, and in what the harness
ships, whose fourteen thousand names are read only if they are needed. Data come through `datasets`, from its cache or
the hub. All is loaded before a model is, so that a misspelt name or a missing data set costs seconds. Tasks that run
what a model wrote need `--confirm-run-unsafe-code`, run it in our sandbox, and are refused if they would run it
anywhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError, one_line
from benchmarks.harness import pocket
from benchmarks.harness.code_eval import runs_in_the_sandbox, sandboxed
from benchmarks.tasks import TASKS

EXTRA = "pip install 'bilora[lm-eval]'"


def check_installed() -> str:
    """Return "lm_eval" with its version.

    Raises:
        UsageError: It is not installed; names the extra.
    """
    try:
        if find_spec("lm_eval") is None:
            raise PackageNotFoundError
        return f"lm_eval {version('lm_eval')}"
    except PackageNotFoundError:
        raise UsageError(f"lm-eval is not installed, which scoring needs; install it with {EXTRA}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the harness' own log, bars and remarks off the display; what it raises is not touched."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.setLevel(level)


class Catalogue:
    """Finds and loads tasks.

    Args:
        names: What is asked for: tasks, groups of tasks or tags.
        include: Folders with YAML tasks of the user's own.
        pocket_folder: Where pocket tasks are written, if any is asked for.
        flag: The flag that named them, for messages.

    Raises:
        UsageError: A name is unknown, or a folder is not there.
    """

    def __init__(
        self, names: Sequence[str], *, include: Sequence[Path], pocket_folder: Path, flag: str = "--tasks"
    ) -> None:
        for folder in include:
            if not folder.is_dir():
                raise UsageError(f"--include-path: {folder} is not a folder; expected one with YAML tasks")
        self.names = tuple(names)
        self._own = [folder.absolute() for folder in include]
        self._pocket_folder = pocket_folder
        self._flag = flag
        with self._flagged():
            self._manager = self._find()

    @contextmanager
    def _flagged(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise UsageError(f"{self._flag}: {error}") from error.__cause__

    def _find(self) -> Any:
        with quiet():
            from lm_eval.tasks import TaskManager

            included = set(TaskManager(include_path=list(self._own), include_defaults=False).all_tasks)
            # A user's own task of that name comes first.
            self._pocket = [name for name in self.names if name in TASKS and name not in included]
            for name in self._pocket:
                pocket.check_exportable(name)
            missing = [name for name in self.names if name not in included and name not in self._pocket]
            folders = [*([self._pocket_folder] if self._pocket else []), *self._own]
            manager = TaskManager(include_path=folders, include_defaults=bool(missing))
        known = {*manager.all_tasks, *TASKS}
        for name in missing:
            if name not in known:
                near = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
                hint = f", nearest: {', '.join(near)}" if near else ""
                raise UsageError(
                    f"unknown task {name!r}{hint}; expected a pocket task, one of lm-eval's own (lm-eval ls tasks) or "
                    "one in --include-path"
                )
        if self._pocket:
            pocket.export(self._pocket, self._pocket_folder)
            with quiet():
                manager = TaskManager(include_path=folders, include_defaults=bool(missing))
        return manager

    def load(self, name: str, *, unsafe: bool) -> dict[str, Any]:
        """Load a task with its data, as `lm_eval.evaluator.evaluate` takes it.

        Raises:
            UsageError: Its data are not there, its files are at fault, or it runs code in a way that is refused.
        """
        with self._flagged():
            try:
                with quiet(), sandboxed():
                    loaded: dict[str, Any] = self._manager.load([name])
            except UsageError:
                raise
            except Exception as error:
                raise UsageError(_why_not_loaded(name, error)) from error
            for task_name, task in loaded["tasks"].items():
                _check_code(task_name, task, unsafe=unsafe)
            return loaded

    def identity(self, name: str) -> str:
        """Return what determines a task, as far as it can be known without its data.

        The harness' version stands for what it ships; a user's own task is hashed with all files that it names.
        """
        if name in self._pocket:
            return pocket.identity(name)
        entry = self._manager.task_index[name]
        if entry.yaml_path is None or not any(entry.yaml_path.is_relative_to(folder) for folder in self._own):
            return name
        return f"{name} {_hash_of_files(entry.yaml_path)}"


def _check_code(name: str, task: Any, *, unsafe: bool) -> None:
    if not getattr(task, "UNSAFE_CODE", False):
        return
    if not unsafe:
        raise UsageError(
            f"{name} runs what the model writes (in a sandbox without network or files); "
            "say --confirm-run-unsafe-code to allow it, or leave the task out"
        )
    if not runs_in_the_sandbox(task):
        raise UsageError(
            f"{name} runs what the model writes by functions of its own, outside any sandbox; only tasks "
            "that use the metric code_eval, such as humaneval and mbpp, can be run here"
        )


def _why_not_loaded(name: str, error: Exception) -> str:
    reason = one_line(error)
    chain = [type(found).__name__ for found in _causes(error)]
    if any(kind in _UNREACHABLE for kind in chain):
        return (
            f"the data of {name} are neither in the cache of `datasets` nor can they be fetched: {reason[:200]}; "
            "load the task once where there is a network and bring its cache here (HF_HOME), or name local files in a "
            "YAML task of your own and its folder with --include-path"
        )
    return f"{name} cannot be loaded: {type(error).__name__}: {reason[:300]}"


_UNREACHABLE = {
    "ConnectionError",
    "OfflineModeIsEnabled",
    "DatasetNotFoundError",
    "LocalEntryNotFoundError",
    "FileNotFoundError",
    "ConnectError",
    "MaxRetryError",
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _hash_of_files(path: Path) -> str:
    """Return a hash of a YAML task with all it includes, and of the local files that it names (16 hex digits)."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(path, resolve_func=False)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for text in sorted(_texts(config)):
        for file in (Path(text), Path(text.rpartition(".")[0] + ".py")):
            if file.is_absolute() and file.is_file():
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
