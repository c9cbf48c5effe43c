"""The README from its first block to its last, as a reader would run it: what it promises is there afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

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


RECORDS = README.parent / "benchmarks" / "results" / "pocket-math-five-seeds-h200.json"
HEADS = {"lora": "LoRA", "lora-sam": "LoRA-SAM", "bilora": "Bi-LoRA"}
QUANTITIES = {"score": (100, 1), "lambda_max_full": (1, 1), "lambda_max_lora": (1, 2), "worst_case_full": (1, 3)}


def by_method(quantity: str) -> dict[str, np.ndarray]:
    """The five seeds of every method, in the order of the seeds."""
    rows = sorted(json.loads(RECORDS.read_text())["records"], key=lambda row: int(row["seed"]))
    return {name: np.array([row[quantity] for row in rows if row["method"] == name]) for name in HEADS}


def test_means_and_standard_errors_of_the_five_seeds_are_those_of_the_records() -> None:
    text = README.read_text()
    for name, head in HEADS.items():
        (row,) = re.findall(rf"^\| {head} \| .* ± .* % \|.*$", text, flags=re.MULTILINE)
        printed = [(float(mean), float(error)) for mean, error in re.findall(r"([\d.]+) ± ([\d.]+)", row)]
        found = []
        for quantity, (factor, places) in QUANTITIES.items():
            values = factor * by_method(quantity)[name]
            found.append((round(values.mean(), places), round(values.std(ddof=1) / len(values) ** 0.5, places)))
        assert len(printed) == len(QUANTITIES)
        for (mean, error), (wanted, deviation), (_, places) in zip(printed, found, QUANTITIES.values(), strict=True):
            assert mean == pytest.approx(wanted, abs=1.01 * 10**-places)
            assert error == pytest.approx(deviation, abs=1.01 * 10**-places)


@pytest.mark.parametrize(
    ("name", "quantity", "places"),
    [(name, *rest) for name in ("bilora", "lora-sam") for rest in (("worst_case_full", 3), ("lambda_max_full", 1))],
)
def test_the_paired_intervals_of_the_text_are_those_of_the_records(name: str, quantity: str, places: int) -> None:
    differences = by_method(quantity)[name] - by_method(quantity)["lora"]
    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    interval = f"{low:+.{places}f} to {high:+.{places}f}".replace("-", "−")
    text = " ".join(README.read_text().split())
    assert f"({interval})" in text
    assert f"{abs(differences.mean()):.{places}f}" in text
    assert low < 0 < high  # "no difference of sharpness is certain"


def test_bilora_s_worst_case_was_lower_in_each_seed() -> None:
    assert (by_method("worst_case_full")["bilora"] < by_method("worst_case_full")["lora"]).all()
