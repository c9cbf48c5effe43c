"""Carries out scores: every subject on every measure, each base loaded once, finished ones kept.

All that can be refused is refused before a base is read: tasks are loaded with their data, adapters compared with their
base. What fails later costs one score; the others go on.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from transformers import AutoTokenizer

from benchmarks.environment import Quiet, environment
from benchmarks.errors import UsageError, one_line
from benchmarks.harness.host import adapted, load_base
from benchmarks.harness.spec import RECORD, ScoreSpec, ScoreStore
from benchmarks.harness.subjects import Base, Subject, adapter_fingerprint, check_fit
from benchmarks.model_configuration import read_config
from benchmarks.models import fingerprint
from benchmarks.out_of_memory import is_out_of_memory
from benchmarks.progress import ComparisonProgress
from benchmarks.storage import StorageError, storage_reason, storing
from benchmarks.store import SCHEMA
from benchmarks.written import now, write_json


class Measure(Protocol):
    """Something that a model can be scored on."""

    name: str
    #: What determines it, see `ScoreSpec.task_identity`.
    identity: str
    #: What generates and judges, with its version.
    harness: str
    num_fewshot: int | None
    limit: int | None
    chat_template: bool

    def prepare(self) -> None:
        """Load what is needed beside the model; raises `UsageError` if it cannot be had."""

    def run(
        self, model: Any, tokenizer: Any, *, subject: str, folder: Path, on_progress: Callable[[float], None]
    ) -> dict[str, Any]:
        """Score a model, write samples into the folder, and return what the record says."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One score to take."""

    subject: Subject
    measure: Measure
    spec: ScoreSpec


def plan_scores(subjects: Sequence[Subject], measures: Sequence[Measure], *, dtype: str, device: str) -> list[Job]:
    """Return every subject on every measure, subjects of one base together."""
    models = {subject.base: _fingerprint(subject.base) for subject in subjects}
    jobs = []
    for base in models:
        for subject in (subject for subject in subjects if subject.base == base):
            for measure in measures:
                spec = ScoreSpec(
                    subject=subject.name,
                    adapter=None if subject.adapter is None else str(subject.adapter),
                    adapter_fingerprint=None if subject.adapter is None else adapter_fingerprint(subject.adapter),
                    model=base.source,
                    model_fingerprint=models[base],
                    quantize=base.quantize,
                    dtype=dtype,
                    device=device,
                    task=measure.name,
                    task_identity=measure.identity,
                    limit=measure.limit,
                    num_fewshot=measure.num_fewshot,
                    chat_template=measure.chat_template,
                    harness=measure.harness,
                )
                jobs.append(Job(subject=subject, measure=measure, spec=spec))
    return jobs


def _fingerprint(base: Base) -> str:
    if Path(base.source).is_dir():
        return fingerprint(Path(base.source))
    # On the hub a revision stands for all files.
    return str(read_config(base.source)._commit_hash)


def prepare(jobs: Sequence[Job], store: ScoreStore) -> list[Job]:
    """Check and load what the missing scores need, apart from models; returns the missing ones.

    Raises:
        UsageError: At the first thing that cannot be used.
    """
    missing = [job for job in jobs if not store.is_complete(job.spec.key)]
    with Quiet():
        for base in _unique(job.subject.base for job in missing):
            own = [job for job in missing if job.subject.base == base]
            check_fit(base, _unique(job.subject for job in own))
            if any(job.measure.chat_template for job in own):
                _check_chat_template(base)
        for measure in _unique(job.measure for job in missing):
            measure.prepare()
    return missing


def _unique(found: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(found))


def _check_chat_template(base: Base) -> None:
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.tokenizer or base.source, trust_remote_code=False)
    except Exception as error:  # of any class: its files are somebody else's
        reason = one_line(error)
        raise UsageError(f"--model: the tokenizer of {base.source} cannot be read: {reason}") from None
    if tokenizer.chat_template is None:
        raise UsageError(
            f"--apply-chat-template: the tokenizer of {base.source} has no chat template; leave the flag off, "
            "prompts are then given as plain text"
        )


def take_scores(missing: Sequence[Job], store: ScoreStore, console: Console) -> int:
    """Take scores that `prepare` returned; returns how many failed."""
    failures = 0
    index = 0
    with ComparisonProgress([1.0] * len(missing), console) as progress, Quiet():
        for base in _unique(job.subject.base for job in missing):
            jobs = [job for job in missing if job.subject.base == base]
            progress.say(f"loading {base.source}")
            try:
                spec = jobs[0].spec
                model, tokenizer = load_base(base, dtype=spec.dtype, device=torch.device(spec.device))
            except Exception as error:
                failures += len(jobs)
                index += len(jobs)
                for job in jobs:
                    _note_failure(job.spec, store, error)
                continue
            for job in jobs:
                with progress.run(index, f"{job.subject.name} · {job.measure.name}"):
                    failures += _take(job, index, model, tokenizer, store, progress)
                index += 1
            del model
    return failures


def _take(job: Job, index: int, model: Any, tokenizer: Any, store: ScoreStore, progress: ComparisonProgress) -> int:
    # Another command that is at work on this very score is waited for.
    with store.claimed(job.spec.key, wait=True):
        if store.is_complete(job.spec.key):
            return 0
        try:
            _score(job, index, model, tokenizer, store, progress)
        except StorageError:
            raise
        except Exception as error:
            if storage_reason(error, store.folder) is not None:
                with storing(store.folder):
                    raise
            _note_failure(job.spec, store, error)
            return 1
    return 0


def _score(job: Job, index: int, model: Any, tokenizer: Any, store: ScoreStore, progress: ComparisonProgress) -> None:
    label = f"{job.subject.name} · {job.measure.name}"
    with store.writing(job.spec.key) as folder, adapted(model, job.subject.adapter) as scored:
        started = now()
        found = job.measure.run(
            scored,
            tokenizer,
            subject=job.subject.name,
            folder=folder,
            on_progress=lambda share: progress.show(index, share, label),
        )
        record = {"schema": SCHEMA, "key": job.spec.key, "spec": asdict(job.spec)} | found
        libraries = found.get("environment", {})
        record |= {"environment": environment(torch.device(job.spec.device)) | libraries}
        write_json(folder / RECORD, record | {"started": started, "finished": now()})


def _note_failure(spec: ScoreSpec, store: ScoreStore, error: Exception) -> None:
    message = one_line(error)
    if is_out_of_memory(error):
        message = f"out of memory; lower --batch-size: {message}"
    noted = store.record_failure(spec, message=message, details="".join(traceback.format_exception(error)))
    print(f"score {spec.key} failed: {message}; details in {noted}", file=sys.stderr)
