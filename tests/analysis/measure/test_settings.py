from __future__ import annotations

import pytest

from analysis import SettingsError
from analysis.errors import AnalysisError
from analysis.measure.settings import MeasureSettings, read_settings

NEEDED = ["--model", "m", "--data", "d.jsonl"]


def test_flags_are_read_into_their_types() -> None:
    found = read_settings([*NEEDED, "--spaces", "full,tangent", "--metrics", "top,trace", "--tolerance", "1e-3"])
    assert found == MeasureSettings(
        model="m", data="d.jsonl", spaces=("full", "tangent"), metrics=("top", "trace"), tolerance=1e-3
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "d.jsonl"], "--model, --adapter: neither was given"),
        (["--model", "m"], "--data: missing"),
        ([*NEEDED, "--spaces", "ful"], "did you mean 'full'"),
        ([*NEEDED, "--metrics", "tops"], "--metrics: found 'tops'; expected one of top, density"),
        ([*NEEDED, "--metrics", "top,top"], "each once"),
        ([*NEEDED, "--radius", "-1"], "--radius: found '-1'; expected a positive number"),
        ([*NEEDED, "--top", "1.5"], "--top: found '1.5'; expected a whole number of at least 1"),
        ([*NEEDED, "--top=--5"], "--top: found '--5'; expected a whole number of at least 1"),
        ([*NEEDED, "--top", "²"], "--top: found '²'; expected a whole number of at least 1"),
        ([*NEEDED, "--points", "4"], "--points: found 4; expected an odd number"),
        ([*NEEDED, "--basis-size", "6"], "--basis-size: found 6; expected at least top + bottom + 3 = 9"),
        ([*NEEDED, "--basis-storage", "none"], "found --top 5 --bottom 1, expected --top 1 --bottom 1"),
        ([*NEEDED, "--backend", "pyhessian", "--operator", "fisher"], "pyhessian computes the Hessian only"),
        ([*NEEDED, "--backend", "pyhessian", "--tolerance", "0.1"], "--tolerance: found 0.1; --backend pyhessian has"),
        (
            [*NEEDED, "--backend", "pyhessian", "--metrics", "top,trace", "--basis-storage", "host"],
            "--basis-storage: found host; --backend pyhessian has rules of its own",
        ),
        (
            [*NEEDED, "--compile-layers", "yes", "--route", "reverse"],
            "--compile-layers: yes needs --route auto",
        ),
        ([*NEEDED, "--compute-dtype", "float32"], "--compute-dtype: float32 needs --compile-layers yes"),
        ([*NEEDED, "--score", "acuracy"], "did you mean 'accuracy'"),
        ([*NEEDED, "--radis", "1"], "unknown argument '--radis'; did you mean '--radius'?"),
        ([*NEEDED, "--top"], "expected one argument"),
    ],
)
def test_what_cannot_be_used_is_answered_in_one_line(flags: list[str], message: str) -> None:
    with pytest.raises(AnalysisError) as error:
        read_settings(flags)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    shown = capsys.readouterr().out
    assert "--basis-storage" in shown
    assert "default: full,lora" in shown
    assert issubclass(SettingsError, AnalysisError)
