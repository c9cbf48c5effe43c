from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis import ObjectiveError
from analysis.measure.data import encode, make_batches, read_rows
from tests.models import byte_tokenizer

ROWS = [{"text": "abc"}, {"text": "de"}, {"text": "f"}]


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_three_formats_hold_the_same_rows(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("\n\n".join(map(json.dumps, ROWS)))
    elif ending == "json":
        path.write_text(json.dumps(ROWS))
    else:
        pd.DataFrame(ROWS).to_parquet(path)
    assert read_rows(path, count=2) == ROWS[:2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "a,b", "ends in '.csv'; expected .jsonl, .json or .parquet"),
        ("rows.jsonl", "{broken", "cannot be read"),
        ("rows.json", "[]", "holds no rows"),
        ("rows.json", '{"text": "a"}', "holds no rows"),
        ("rows.json", "[" * 100_000, "cannot be read"),
        ("rows.parquet", "PAR1 and no more PAR1", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ObjectiveError, match="--data") as error:
        read_rows(tmp_path / name, count=4)
    assert message in str(error.value)
    with pytest.raises(ObjectiveError, match="cannot be read"):
        read_rows(tmp_path / "missing.jsonl", count=4)


def test_only_the_completion_is_scored() -> None:
    tokenizer = byte_tokenizer()
    row = encode({"prompt": "ab", "response": "c"}, tokenizer, kind="causal", max_length=9)
    assert tokenizer.decode(row["input_ids"]) == "abc<eos>"
    assert row["labels"] == [-100, -100, *row["input_ids"][2:]]
    whole = encode({"text": "ab"}, tokenizer, kind="causal", max_length=9)
    assert whole["labels"] == whole["input_ids"]


def test_other_kinds_of_model() -> None:
    tokenizer = byte_tokenizer()
    pair = encode({"prompt": "ab", "completion": "c"}, tokenizer, kind="seq2seq", max_length=9)
    assert (tokenizer.decode(pair["input_ids"]), tokenizer.decode(pair["labels"])) == ("ab", "c")
    assert encode({"text": "ab", "label": 1}, tokenizer, kind="classification", max_length=9)["labels"] == 1
    assert encode({"input_ids": [5, 6]}, None, kind="causal", max_length=1) == {"input_ids": [5], "labels": [5]}


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"txt": "a"}, "causal", "rows have columns txt; expected prompt, completion or text"),
        ({"text": "a"}, "seq2seq", "expected prompt, completion"),
        ({"text": "a"}, "classification", "expected text, label"),
        ({"input_ids": [1]}, "seq2seq", "rows with input_ids need labels"),
        ({"prompt": "abcdefgh", "completion": "i"}, "causal", "leaves nothing to score"),
        ({"input_ids": [1, 2, 3], "labels": [1, 2]}, "causal", "2 labels for 3 input_ids; expected one for each"),
        ({"input_ids": []}, "causal", "input_ids is []; expected token ids"),
        ({"input_ids": "abc"}, "causal", "input_ids is 'abc'; expected token ids"),
        ({"text": "a", "label": "yes"}, "classification", "label is 'yes'; expected the index of a class"),
    ],
)
def test_rows_that_do_not_fit(row: dict[str, object], kind: str, message: str) -> None:
    with pytest.raises(ObjectiveError) as error:
        encode(row, byte_tokenizer(), kind=kind, max_length=4)
    assert message in str(error.value)
    with pytest.raises(ObjectiveError, match="need a tokenizer"):
        encode({"text": "a"}, None, kind="causal", max_length=4)


def test_batches_are_padded_and_padding_is_not_scored() -> None:
    rows = [{"input_ids": [3, 4, 5], "labels": [-100, 4, 5]}, {"input_ids": [6], "labels": [6]}]
    (batch,) = make_batches(rows, size=4, pad_id=0)
    assert batch["input_ids"].tolist() == [[3, 4, 5], [6, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 4, 5], [6, -100, -100]]
    assert len(make_batches(rows, size=1, pad_id=0)) == 2
    (classes,) = make_batches([{"input_ids": [1], "labels": 2}], size=1, pad_id=0)
    assert classes["labels"].tolist() == [2]
