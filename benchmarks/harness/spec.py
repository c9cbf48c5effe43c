"""Everything that determines one score, the key made of it, and the folder of scores.

A score is one subject (a base model, alone or with an adapter) on one task. The key stands for the contents of base,
adapter and task, so that a score that is stored under it need not be taken again, and an adapter that changes under an
old name is scored anew. How many examples are scored at a time is not part of it, though rounding may differ.

    OUT/scores/KEY/score.json         what was scored, every metric with its standard error, environment
    OUT/scores/KEY/samples/TASK.jsonl every prompt, what the model wrote or the likelihoods it gave, and the metrics
    OUT/scores.csv                    one row for each subject, task and metric
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.storage import storing
from benchmarks.store import FolderStore
from benchmarks.written import now, replacing, write_json

RECORD = "score.json"
#: What a judge said of the answers that a score consists of.
JUDGEMENTS = "judgements.json"
COLUMNS = (
    "subject", "model", "task", "metric", "filter", "value", "standard_error", "examples", "num_fewshot", "version",
    "hash", "key",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScoreSpec:
    """One subject on one task.

    Attributes:
        subject: Name of the adapter, or "base".
        adapter: Its folder as given, or None; `adapter_fingerprint` stands for its content in the key.
        model: Name or folder of the base; `model_fingerprint` stands for its content.
        quantize: "nf4" for a 4-bit base, or None.
        dtype: Type of the base's weights.
        device: Type of device, "cpu" or "cuda".
        task: Name of the task or group of tasks.
        task_identity: What stands for its content, see `benchmarks.harness.catalogue`.
        limit: Examples of each task; None takes all.
        num_fewshot: Examples in front of each prompt; None leaves it to the task.
        chat_template: Whether prompts go through the tokenizer's chat template.
        harness: What generates and judges, with its version.
    """

    subject: str
    adapter: str | None
    adapter_fingerprint: str | None
    model: str
    model_fingerprint: str
    quantize: str | None
    dtype: str
    device: str
    task: str
    task_identity: str
    limit: int | None
    num_fewshot: int | None
    chat_template: bool
    harness: str
    software: str = f"bilora {version('bilora')}"

    @property
    def key(self) -> str:
        """Readable names, then 12 hex digits of the SHA-256 over everything but names and folders."""
        content = asdict(self)
        for name in ("subject", "adapter", "model"):
            del content[name]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        return f"{_plain(self.task)}-{_plain(self.subject)}-{digest}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", name)


class ScoreStore(FolderStore):
    """Scores in a folder, by key; see `FolderStore` for how they are written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "scores", RECORD)

    def finished(self) -> list[str]:
        """Return the keys of all finished scores in alphabetical order."""
        return sorted(path.parent.name for path in self.items.glob(f"[!.]*/{RECORD}"))

    def record(self, key: str) -> dict[str, Any]:
        """Return the record of a finished score, with the judgements of its answers if there are any."""
        record: dict[str, Any] = json.loads((self.items / key / RECORD).read_text())
        judgements = self.items / key / JUDGEMENTS
        if judgements.is_file():
            record["tasks"] = {record["spec"]["task"]: json.loads(judgements.read_text())}
        return record

    def record_failure(self, spec: ScoreSpec, *, message: str, details: str) -> Path:
        """Note why a score could not be taken; returns the file with the details."""
        path = self.failed / f"{spec.key}.json"
        record = {"key": spec.key, "spec": asdict(spec), "stage": "score", "message": message}
        with storing(self.folder):
            self.failed.mkdir(parents=True, exist_ok=True)
            write_json(path, record | {"details": details, "time": now()})
        return path

    def write_table(self) -> Path:
        """Write scores.csv from all finished scores."""
        path = self.folder / "scores.csv"
        with (
            storing(self.folder),
            replacing(path) as partial,
            partial.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for key in self.finished():
                writer.writerows(_rows(self.record(key)))
        return path


def _rows(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    spec = record["spec"]
    return [
        (
            spec["subject"], spec["model"], task, found["metric"], found["filter"], found["value"],
            found["standard_error"], result["examples"], result["num_fewshot"], result["version"], result["hash"],
            record["key"],
        )
        for task, result in record.get("tasks", {}).items()
        for found in result["metrics"]
    ]  # fmt: skip
