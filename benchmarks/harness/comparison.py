"""`benchmarks.compare --score`: the adapters of a comparison's runs on tasks of the lm-evaluation-harness.

Scores lie in the comparison's own folder, as those of `python -m benchmarks.score` do in theirs; one metric of each
task goes beside the run it belongs to, from where results and report take it. Adapters are scored on the base they were
trained on, in float32 as there, on 4 bits if trained so; what full fine-tuning has made is a base of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from analysis.adapter_folder import CONFIG
from benchmarks.errors import UsageError
from benchmarks.harness.evaluation import primary
from benchmarks.harness.measures import HarnessOptions, HarnessTask, harness_tasks
from benchmarks.harness.session import plan_scores, prepare, take_scores
from benchmarks.harness.spec import ScoreStore
from benchmarks.harness.subjects import Base, Subject
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from benchmarks.written import write_json
from reports.harness import SIDE_FILE

_FLAG = "--score"


def plan_scoring(settings: CompareSettings) -> list[HarnessTask]:
    """Return the tasks of `--score`, loaded with their data, so that what is wrong with them is said before training.

    Raises:
        UsageError: lm-eval is not installed, a task is unknown, lacks its data, or may not run what a model writes.
    """
    if not settings.score:
        return []
    tasks = harness_tasks(
        settings.score,
        include=[] if settings.score_include_path is None else [settings.score_include_path],
        pocket_folder=settings.out / "pocket-tasks",
        options=HarnessOptions(
            limit=settings.score_limit,
            batch_size=settings.score_batch_size,
            unsafe=settings.confirm_run_unsafe_code,
        ),
        flag=_FLAG,
    )
    for task in tasks:
        task.prepare()
    return tasks


def score_runs(
    tasks: Sequence[HarnessTask],
    specs: Sequence[RunSpec],
    *,
    model_folders: Mapping[str, Path],
    store: RunStore,
    console: Console,
) -> int:
    """Score the finished runs; returns how many scores failed."""
    if not tasks:
        return 0
    finished = [spec for spec in specs if store.is_complete(spec.key)]
    if not finished:
        return 0
    scores = ScoreStore(store.folder)
    scores.create()
    scores.remove_unfinished()
    subjects = [_subject(spec, store.runs / spec.key / "adapter", model_folders[spec.model]) for spec in finished]
    jobs = plan_scores(subjects, tasks, dtype="float32", device=finished[0].device)
    try:
        missing = prepare(jobs, scores)
    except UsageError as error:
        print(f"no run could be scored: {error}", file=sys.stderr)
        return len(jobs)
    if len(missing) < len(jobs):
        console.print(f"{len(jobs) - len(missing)} of {len(jobs)} lm-eval scores are finished already and kept")
    failures = take_scores(missing, scores, console)
    found: dict[str, dict[str, object]] = {}
    for job in jobs:
        if scores.is_complete(job.spec.key):
            result = scores.record(job.spec.key)["tasks"][job.measure.name]
            metric = primary(result)
            if metric is not None:
                entry = {**metric, "examples": result["examples"], "score": job.spec.key}
                if job.spec.limit is not None:
                    entry["limit"] = job.spec.limit
                found.setdefault(job.subject.name, {})[job.measure.name] = entry
    for key, entries in found.items():
        path = store.runs / key / SIDE_FILE
        before = json.loads(path.read_text()) if path.is_file() else {}
        if before != before | entries:
            write_json(path, before | entries)
    scores.write_table()
    return failures


def _subject(spec: RunSpec, exported: Path, model: Path) -> Subject:
    if (exported / CONFIG).is_file():
        return Subject(name=spec.key, base=Base(source=str(model), quantize=spec.quantize), adapter=exported)
    return Subject(name=spec.key, base=Base(source=str(exported), tokenizer=str(model)))
