"""Reads examples from a file and makes batches of them, in the columns that people's data comes in.

`prompt` and `completion` (or `response`, `output`) score the completion alone; `text` scores every token; `text` and
`label` are for a classifier; `input_ids` and `labels` are taken as they are. A sequence-to-sequence model reads the
prompt and predicts the completion.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.errors import ObjectiveError
from analysis.losses import IGNORED_LABEL

Row = dict[str, Any]
_ANSWERS = ("completion", "response", "output")


def read_rows(path: Path, *, count: int) -> list[Row]:
    """Return the first `count` rows of a .jsonl, .json or .parquet file.

    Raises:
        ObjectiveError: The file cannot be read, or holds no rows.
    """
    if path.suffix not in _READERS:
        raise ObjectiveError(f"--data: {path} ends in {path.suffix!r}; expected .jsonl, .json or .parquet")
    try:
        rows = _READERS[path.suffix](path, count)
    except (OSError, ValueError, RecursionError) as error:
        raise ObjectiveError(f"--data: {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ObjectiveError(f"--data: {path} holds no rows; expected objects with named columns")
    return rows[:count]


def _parquet(path: Path, count: int) -> Any:
    import pandas as pd  # a parquet file is read by few, and this import takes a second

    return pd.read_parquet(path).head(count).to_dict("records")


def _jsonl(path: Path, count: int) -> Any:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip((x for x in file if x.strip()), range(count), strict=False)]


_READERS: dict[str, Callable[[Path, int], Any]] = {
    ".parquet": _parquet,
    ".json": lambda path, _: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": _jsonl,
}


def encode(row: Row, tokenizer: Any, *, kind: str, max_length: int) -> Row:
    """Return one example as the token lists that its kind of model is fed.

    Args:
        row: One row of the data.
        tokenizer: The model's tokenizer; not needed for rows that hold `input_ids`.
        kind: `causal`, `seq2seq` or `classification`.
        max_length: Tokens at most, on either side.

    Raises:
        ObjectiveError: The columns do not fit the kind of model, or nothing is left to score.
    """
    if "input_ids" in row:
        return _encoded(row, kind=kind, max_length=max_length)
    if tokenizer is None:
        raise ObjectiveError("--data: texts need a tokenizer, and the model folder holds none; give rows of input_ids")
    if kind == "classification":
        if "text" not in row or "label" not in row:
            raise _columns(row, "text, label")
        ids = tokenizer(row["text"], truncation=True, max_length=max_length)["input_ids"]
        return {"input_ids": ids, "labels": _class(row["label"], "label")}
    answer = next((row[name] for name in _ANSWERS if name in row), None)
    if "prompt" in row and answer is not None:
        return _prompted(row["prompt"], answer, tokenizer, kind=kind, max_length=max_length)
    if kind == "causal" and "text" in row:
        ids = tokenizer(row["text"], truncation=True, max_length=max_length)["input_ids"]
        return {"input_ids": ids, "labels": list(ids)}
    raise _columns(row, "prompt, completion" + (" or text" if kind == "causal" else ""))


def _encoded(row: Row, *, kind: str, max_length: int) -> Row:
    ids = _ids(row["input_ids"], "input_ids")
    labels = row.get("labels", ids if kind == "causal" else None)
    if labels is None:
        raise ObjectiveError(f"--data: rows with input_ids need labels for a {kind} model")
    if kind == "classification":
        return {"input_ids": ids[:max_length], "labels": _class(labels, "labels")}
    targets = _ids(labels, "labels")
    if kind == "causal" and len(targets) != len(ids):
        raise ObjectiveError(f"--data: a row has {len(targets)} labels for {len(ids)} input_ids; expected one for each")
    return {"input_ids": ids[:max_length], "labels": targets[:max_length]}


def _ids(value: Any, name: str) -> list[int]:
    # A parquet file gives arrays.
    found = value if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    if not isinstance(found, list) or not found or not all(isinstance(entry, Integral) for entry in found):
        raise ObjectiveError(f"--data: {name} is {repr(found)[:40]}; expected token ids, a list of whole numbers")
    return [int(entry) for entry in found]


def _class(value: Any, name: str) -> int:
    if isinstance(value, Integral):
        return int(value)
    raise ObjectiveError(f"--data: {name} is {repr(value)[:40]}; expected the index of a class, a whole number")


def _prompted(prompt: str, answer: str, tokenizer: Any, *, kind: str, max_length: int) -> Row:
    if kind == "seq2seq":
        source = tokenizer(prompt, truncation=True, max_length=max_length)["input_ids"]
        target = tokenizer(text_target=answer, truncation=True, max_length=max_length)["input_ids"]
        return {"input_ids": source, "labels": target}
    head = tokenizer(prompt)["input_ids"]
    if head and head[-1] == tokenizer.eos_token_id:
        head = head[:-1]
    tail = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    ids = (head + tail)[:max_length]
    if len(ids) <= len(head):
        raise ObjectiveError(f"--max-length: a prompt of {len(head)} tokens leaves nothing to score of {max_length}")
    return {"input_ids": ids, "labels": [IGNORED_LABEL] * len(head) + ids[len(head) :]}


def _columns(row: Row, expected: str) -> ObjectiveError:
    return ObjectiveError(f"--data: rows have columns {', '.join(sorted(row))}; expected {expected}")


def make_batches(rows: Sequence[Row], *, size: int, pad_id: int) -> list[dict[str, Tensor]]:
    """Return padded batches of encoded rows: input_ids, attention_mask (b, t), labels (b, t) or (b,)."""
    batches = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ids = _padded([row["input_ids"] for row in part], pad_id)
        mask = _padded([[1] * len(row["input_ids"]) for row in part], 0)
        if isinstance(part[0]["labels"], int):
            labels = torch.tensor([row["labels"] for row in part])
        else:
            labels = _padded([row["labels"] for row in part], IGNORED_LABEL)
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return batches


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
