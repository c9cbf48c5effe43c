"""The command and the call: files, determinism, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.fields import RunStoreError
from reports.render import main, render

MakeStore = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_everything_is_written_where_it_belongs(make_store: MakeStore) -> None:
    folder = make_store()
    result = render(folder)
    assert result.page == folder / "report" / "index.html"
    tables = ("comparison-pocket-math", "cost", "overview", "sharpness-pocket-math")
    figures = ("cost", "curves", "sharpness", "slices", "spectrum")
    assert sorted(contents(folder / "report")) == sorted(
        ["index.html", "report.md"]
        + [f"figures/{name}-pocket-math.{suffix}" for name in figures for suffix in ("pdf", "png", "svg")]
        + [f"tables/{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")]
        + ["tables/runs.parquet", "tables/runs-columns.md"]
    )
    assert {*result.figures, *result.tables, result.page, result.markdown} == {
        path for path in (folder / "report").rglob("*") if path.is_file()
    }
    assert result.problems == ()


def test_the_same_runs_give_the_same_bytes_in_another_process(make_store: MakeStore, tmp_path: Path) -> None:
    folder = make_store(seeds=(0, 1), failed=("bilora",))
    render(folder, tmp_path / "here")
    command = [sys.executable, "-m", "reports.render", str(folder), "--out", str(tmp_path / "there")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "there" / "index.html")
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_rendering_again_replaces_and_leaves_the_runs_alone(make_store: MakeStore) -> None:
    folder = make_store()
    runs = contents(folder)
    render(folder)
    first = contents(folder / "report")
    render(folder)
    assert contents(folder / "report") == first
    assert {name: data for name, data in contents(folder).items() if not name.startswith("report/")} == runs


@pytest.mark.parametrize("kind", ["missing", "foreign", "empty"])
def test_bad_folders_are_refused_in_one_line(
    kind: str, tmp_path: Path, make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / kind
    if kind == "foreign":
        folder.mkdir()
    if kind == "empty":
        folder = make_store(absent=("lora", "lora-sam", "bilora"))
    assert main([str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reports.render: ")
    assert captured.err.count("\n") == 1
    assert not (folder / "report").exists()
    with pytest.raises(RunStoreError):
        render(folder)


def test_an_unwritable_folder_is_one_line(
    make_store: MakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([str(make_store()), "--out", str(tmp_path / "file")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("reports.render: cannot write the report: ")
    assert message.endswith("choose another --out\n")


def test_problems_are_named_and_the_rest_is_rendered(make_store: MakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_store()
    (folder / "runs" / "bilora-pocket-math-s0" / "run.json").write_text("{")
    assert main([str(folder)]) == 0
    message = capsys.readouterr().err
    assert message.startswith("reports.render: left out runs/bilora-pocket-math-s0: run.json is not valid JSON")


def test_importing_reports_is_light() -> None:
    code = (
        "import sys, reports, reports.render; print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
