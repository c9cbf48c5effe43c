from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks.sources import Source, read_split
from tests.real_data import cola_rows, write_cola, write_lines

COLA = Source(hub="nyu-mll/glue", config="cola", splits=("train", "validation"), columns=("sentence", "label"))
FLAT = Source(hub="owner/flat", columns=("query", "response"), limit=3)


def test_json_lines_json_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    rows = cola_rows(5)
    write_lines(tmp_path / "lines" / "train.jsonl", rows)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.json").write_text(json.dumps(rows))
    (tmp_path / "table").mkdir()
    for part, some in enumerate((rows[:2], rows[2:])):
        pd.DataFrame(some).to_parquet(tmp_path / "table" / f"train-0000{part}-of-00002.parquet")
    for name in ("lines", "list", "table"):
        assert read_split("glue-cola", COLA, "train", tmp_path / name) == rows


def test_a_folder_may_hold_one_of_the_tasks_name_and_a_split_its_short_name(tmp_path: Path) -> None:
    write_cola(tmp_path / "glue-cola")
    assert len(read_split("glue-cola", COLA, "validation_matched", tmp_path)) == 6


def test_a_set_of_one_split_may_be_a_file_and_is_cut_to_its_limit(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "any.jsonl", [{"query": str(n), "response": ""} for n in range(5)])
    assert [row["query"] for row in read_split("metamathqa", FLAT, "train", file)] == ["0", "1", "2"]
    with pytest.raises(UsageError, match="is one file, and glue-cola has the splits train, validation; give a folder"):
        read_split("glue-cola", COLA, "train", file)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "train.jsonl",
            '{"sentence": "a"}\n',
            "row 1 of .* has the columns sentence; glue-cola expects sentence, label",
        ),
        ("train.jsonl", '{"sentence": "a"\n', "line 1 of .* is not valid JSON"),
        ("train.jsonl", '{"a": ' * 100_000, "line 1 of .* is not valid JSON"),
        ("train.json", "[" * 100_000, "is not valid json"),
        ("train.json", "[1]", "row 1 of .* is a int; expected an object of columns"),
        ("train.parquet", "junk", "is not valid parquet"),
        ("train.jsonl", "\n", "holds no row"),
        ("other.jsonl", "", r"holds no file train.jsonl \(or .json, .parquet\); glue-cola reads .* columns sentence"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=f"^--data: .*{message}") as error:
        read_split("glue-cola", COLA, "train", tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_set_of_the_hub_says_which_local_files_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network, which tests never have, and without a cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(UsageError) as error:
        read_split("glue-cola", COLA, "train", None)
    text = str(error.value)
    assert "glue-cola reads nyu-mll/glue (cola) from the hub, which is not cached and cannot be reached" in text
    assert "FOLDER/train.jsonl and FOLDER/validation.jsonl (or .json, .parquet; also in FOLDER/glue-cola)" in text
    assert text.endswith("with the columns sentence, label")
    assert "\n" not in text


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_half_of_a_surrogate_pair_is_refused_with_its_row_and_a_whole_pair_is_read(tmp_path: Path, name: str) -> None:
    def written(text: str) -> Path:
        rows = [{"query": "a", "response": "b"}, {"query": text, "response": "c"}]
        lines = [json.dumps(row) for row in rows]
        file = tmp_path / name
        file.write_text(f"[{','.join(lines)}]" if name.endswith(".json") else "\n".join(lines))
        return file

    assert read_split("metamathqa", FLAT, "train", written("\U0001f600"))[1]["query"] == "\U0001f600"
    with pytest.raises(UsageError, match=r"--data: row 2 of .*train.* has half of a surrogate pair \('\\ud83d'\)"):
        read_split("metamathqa", FLAT, "train", written("\ud83d"))


def test_a_set_that_is_made_by_a_script_is_read_from_the_hubs_own_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, config: str | None, *, split: str, revision: str | None = None) -> list[dict[str, str]]:
        asked.append((name, config, split, revision))
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found flat.py")
        return [{"query": "2 + 2", "response": "4"}]

    monkeypatch.setattr("datasets.load_dataset", load)
    assert read_split("metamathqa", FLAT, "train", None) == [{"query": "2 + 2", "response": "4"}]
    assert asked == [
        ("owner/flat", None, "train[:3]", None),
        ("owner/flat", None, "train[:3]", "refs/convert/parquet"),
    ]
