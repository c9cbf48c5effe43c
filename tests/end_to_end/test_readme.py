"""The README from its first block to its last, as a reader would run it: what it promises is there afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from bilora.methods import METHODS
from tests.docs.running import run_page

README = Path(__file__).parents[2] / "README.md"


def test_what_the_readme_promises_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_page(README, tmp_path, monkeypatch, name="README.md")
    # The Trainer's adapter, then the loop's.
    assert Path("adapter/adapter_model.safetensors").is_file()
    assert not Path("adapter/auxiliary").exists()
    # Three steps of the loop, three more of the fast one.
    assert names["method"].cost.gradients == 6
    full = names["flatness"].spaces["full"]
    assert full.top[0].value > full.bottom[0].value
    methods = pd.read_csv("comparison/results.csv")["method"].tolist()
    assert methods == ["lora", "dora+bilora", "flat-lora", "s2sam"]
    table = Path("scores/scores.csv").read_text()
    assert all(f"{name}," in table for name in ("base", "lora", "bilora", "pocket-math", "pocket-instruct"))


def test_every_method_is_in_the_table() -> None:
    text = README.read_text()
    assert all(f"\n| `{name}` | " in text for name in METHODS)
    assert f"**Methods**: {len(METHODS)}," in text


def test_files_that_the_readme_links_to_are_there() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    here = [link for link in linked if "://" not in link]
    assert len(here) > 20
    assert [link for link in here if not (README.parent / link).exists()] == []
