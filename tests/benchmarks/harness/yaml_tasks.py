"""Tasks of a user's own, as YAML with local data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def save_yaml_task(folder: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        **settings,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def save_choice_task(folder: Path, name: str = "own-choice", **settings: Any) -> Path:
    """Four questions with two answers each."""
    rows = [{"question": f"{word}:", "answer": i % 2} for i, word in enumerate(("sun", "moon", "star", "sky"))]
    given = {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "doc_to_choice": ["up", "down"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    return save_yaml_task(folder, name, rows, **(given | settings))
