from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks import parsing
from benchmarks.errors import UsageError
from benchmarks.flags import each, read_device, read_flags, read_out
from benchmarks.one_line_parser import OneLineParser


def test_values_are_read_and_the_first_bad_one_is_named() -> None:
    readers = {"rows": each(parsing.integer(minimum=1)), "micro_rows": parsing.integer(minimum=1)}
    assert read_flags(Namespace(rows="1,2", micro_rows="3"), readers) == {"rows": (1, 2), "micro_rows": 3}
    with pytest.raises(UsageError, match=r"^--micro-rows: found '0'; expected a whole number of at least 1$"):
        read_flags(Namespace(rows="1", micro_rows="0"), readers)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=available: answer)
        assert read_device(Namespace(device="auto")).type == expected
    assert read_device(Namespace(device="cpu")).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device: found 'cuda', but PyTorch sees no CUDA device"):
        read_device(Namespace(device="cuda"))


def test_a_file_can_be_written_where_its_folder_is(tmp_path: Path) -> None:
    assert read_out(Namespace(out=None)) is None
    assert read_out(Namespace(out=str(tmp_path / "a.json"))) == tmp_path / "a.json"
    with pytest.raises(UsageError, match="is a folder; expected the name of a file"):
        read_out(Namespace(out=str(tmp_path)))
    with pytest.raises(UsageError, match=r"--out: the folder of .* does not exist"):
        read_out(Namespace(out=str(tmp_path / "nowhere" / "a.json")))


def test_a_parser_complains_in_one_line() -> None:
    parser = OneLineParser(prog="p")
    parser.add_argument("--size", type=int)
    with pytest.raises(UsageError, match="argument --size: invalid int value: 'x'"):
        parser.parse_args(["--size", "x"])
