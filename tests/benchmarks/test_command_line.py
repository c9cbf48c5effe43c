from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.command_line import read_given
from benchmarks.errors import UsageError
from benchmarks.settings import CompareSettings, to_yaml


def read_settings(arguments: list[str]) -> tuple[CompareSettings, bool]:
    given = read_given(arguments)
    return CompareSettings(**given.values), given.print_config


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("seeds: 3\nrank: 4\noptions: {bilora: {rho: 0.1}}\n")
    settings, only_print = read_settings(["--config", str(config), "--rank", "2", "--methods=lora,bilora"])
    assert (settings.seeds, settings.rank, settings.alpha) == (3, 2, 16.0)
    assert settings.methods == ("lora", "bilora")
    assert settings.options == {"bilora": {"rho": 0.1}}
    assert not only_print


def test_printed_configuration_reads_back_to_the_same_settings(tmp_path: Path) -> None:
    settings, _ = read_settings(["--seeds", "2", "--options", "bilora.rho=0.2", "--spaces", "full", "--steps", "7"])
    config = tmp_path / "c.yaml"
    config.write_text(to_yaml(settings))
    assert read_settings(["--config", str(config)])[0] == settings


def test_every_setting_is_a_flag_with_help_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read_settings(["--help"])
    assert stop.value.code == 0
    # Lines are wrapped, also at hyphens: compare without any white space.
    shown = "".join(capsys.readouterr().out.split())
    for entry in fields(CompareSettings):
        assert "--" + entry.name.replace("_", "-") in shown
        assert "".join(entry.metadata["help"].split()) in shown
    assert "bilora.rho:radius:sqrt(sumoverlayers" in shown
    assert "tasks:pocket-math" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds: found '0'; expected a whole number of at least 1"),
        (["--radius", "-1"], "--radius: found '-1'; expected a number above 0"),
        (["--method", "lora"], "unknown argument '--method', did you mean '--methods'?"),
        (["--seeds"], "argument --seeds: expected one argument"),
        (["--config", "missing.yaml"], "--config: missing.yaml cannot be read: No such file or directory"),
    ],
)
def test_bad_flags(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_settings(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [1", "is not valid YAML"),
        ("- a", "holds a list; expected 'name: value' lines"),
        ("seed: 1", "has unknown key 'seed', did you mean 'seeds'?"),
        ("seeds: three", "--seeds: found 'three' in "),
        ("options: {bilora: 1}", "--options: found {'bilora': 1} in "),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(content)
    with pytest.raises(UsageError) as error:
        read_settings(["--config", str(config)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert read_settings(["--config", str(tmp_path / "c.yaml")])[0] == CompareSettings()


def test_help_has_every_flag_once_in_groups_that_begin_with_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_given(["--help"])
    shown = capsys.readouterr().out
    titles = ["\ncomparison and training:\n", "\nthe model:\n", "\nmeasuring and scoring:\n", "\npictures:\n"]
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    described = shown[places[0] :]
    for entry in fields(CompareSettings):
        flag = "--" + entry.name.replace("_", "-")
        assert len(re.findall(rf"^  {flag}[ \n]", described, flags=re.MULTILINE)) == 1
