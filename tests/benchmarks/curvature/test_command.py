from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.curvature import peer_comparison
from benchmarks.curvature.__main__ import SCRIPTS, main
from benchmarks.curvature.peer_routes import Route, trace_routes


@pytest.mark.slow
def test_peers_are_compared_at_one_true_accuracy(tmp_path: Path) -> None:
    pytest.importorskip("pyhessian")
    out = tmp_path / "peers.json"
    flags: dict[str, Any] = {
        "--device": "cpu", "--models": "llama-tiny", "--seeds": 1, "--products": 20, "--draws": 2, "--steps": 8,
        "--reference-products": 64, "--reference-draws": 2, "--peer-seconds": 60, "--out": out,
    }  # fmt: skip
    assert main(["peers", *(str(part) for pair in flags.items() for part in pair)]) == 0
    records = json.loads(out.read_text())["records"]
    assert all(record["error"] is None for record in records)
    (top,) = [r for r in records if r["quantity"].startswith("top") and r["peer"] == "pyhessian 0.1"]
    assert top["relative_error"] <= 1e-3
    assert "reference: float64" in top["note"]
    for name in ("seconds", "products", "gradient_seconds", "peer_seconds", "peer_relative_error"):
        assert top[name] > 0, name
    assert {record["quantity"].split()[0].split("-")[0] for record in records} >= {"top", "trace"}


def test_scripts_are_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("peers", "large", "scaling", "plot"))
    assert main(["larg"]) == 2
    assert "unknown script 'larg', did you mean 'large'?" in capsys.readouterr().err
    assert main([]) == 2
    assert set(SCRIPTS) == {"peers", "large", "scaling", "plot"}


def test_a_library_that_fails_is_an_outcome_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyhessian")

    def broken(case: Any, setting: float, seed: int) -> Any:
        raise RuntimeError("an illegal address\nand more")

    def routes(products: int) -> list[Route]:
        return [replace(r, solve=broken) if r.library == "pyhessian" else r for r in trace_routes(products)]

    monkeypatch.setattr(peer_comparison, "trace_routes", routes)
    out = tmp_path / "peers.json"
    flags = "--device cpu --models llama-tiny --quantities trace --seeds 1 --products 16 --reference-products 64"
    assert main(["peers", *flags.split(), "--out", str(out)]) == 0
    (record,) = [r for r in json.loads(out.read_text())["records"] if r["peer"] == "pyhessian 0.1"]
    assert record["note"].endswith("peer failed: an illegal address")
    assert record["seconds"] > 0
    assert record["peer_seconds"] is None
