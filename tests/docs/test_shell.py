"""Commands of pages are run or read, and what is wrong with them is found."""

from __future__ import annotations

import os

import pytest

from tests.docs.blocks import Block, PageError
from tests.docs.shell import commands, run_block


def run(text: str, *marks: tuple[str, str]) -> None:
    run_block(Block(place="page.md:1", language="sh", text=text, marks=marks))


def test_words_are_those_of_a_shell() -> None:
    text = "python -m x --a 'b c' \\\n    --d  # a remark\n\n# another\nmake a && make b\n"
    assert commands(text) == [["python", "-m", "x", "--a", "b c", "--d"], ["make", "a"], ["make", "b"]]


def test_a_command_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    run("python -m benchmarks.methods bilora\n")
    assert "auxiliary adapter" in capsys.readouterr().out
    run("python -m benchmarks.methods\n", ("with", "--markdown"))
    assert capsys.readouterr().out.startswith("| method |")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("python -m benchmarks.methods bilara\n", "ended with 2"),
        ("python -m benchmarks.absent\n", "there is no module benchmarks.absent"),
        ("python absent.py\n", "there is no file absent.py"),
        ("make absent\n", "no target 'absent'"),
        ("pip install -e '.[absent]'\n", "no extra {'absent'}"),
        ("pip install 'bilora[lm-eval,absent]'\n", "no extra {'absent'}"),
        ("rm -rf x\n", "nobody knows how to run 'rm -rf x'"),
    ],
)
def test_a_command_that_fails_or_is_unknown_is_found(text: str, complaint: str) -> None:
    with pytest.raises(PageError, match=complaint):
        run(text)


@pytest.mark.parametrize(
    "text",
    [
        "python -m benchmarks.compare --methods lora,bilora --model Qwen/Qwen2.5-0.5B --tasks gsm\n",
        "python -m analysis.measure --adapter FOLDER --data rows.jsonl --metrics top\n",
        "python -m benchmarks.claims --seeds 5\n",
        "python -m benchmarks.efficiency --model llama-3.1-8b --methods lora\n",
        "python -m benchmarks.curvature peers --out FILE.json\n",
        "python -m benchmarks.reliability kills --count 3\n",
        "python -m reports.render RUNS --out FOLDER\n",
        "torchrun --nproc-per-node 2 -m benchmarks.compare --methods lora\n",
    ],
)
def test_a_command_is_read_and_not_run(text: str) -> None:
    run(text, ("parse", "it would take minutes"))
    with pytest.raises(PageError, match="no-such-flag"):
        run(text.replace("\n", " --no-such-flag\n"), ("parse", "it would take minutes"))


def test_values_of_a_command_that_is_only_read_are_checked() -> None:
    with pytest.raises(PageError, match="steps"):
        run("python -m benchmarks.compare --steps few\n", ("parse", "no reason"))
    with pytest.raises(PageError, match="worst"):
        run("python -m analysis.measure --metrics worst\n", ("parse", "no reason"))


def test_targets_extras_and_variables_are_known() -> None:
    run("make compare\npip install -e '.[test,lint]'\nSOME_VARIABLE=1 python -m benchmarks.methods lora\n")
    assert "SOME_VARIABLE" not in os.environ
