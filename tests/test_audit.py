"""The audit of the dependencies, which lies beside the CI script and not in a package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[1] / ".ci" / "audit.py"


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_below_the_fixed_one_are_found_and_others_are_not(audit: ModuleType) -> None:
    fixed_in = {"PyYAML": [["5.4", "CVE-2020-14343"]], "gone": [["any", "X-1"]], "torch": [["2.6.0", "CVE-2025-32434"]]}
    assert audit.vulnerable({"pyyaml": "5.4", "torch": "2.13.0+cpu"}, fixed_in) == []
    assert audit.vulnerable({"pyyaml": "5.3.1", "gone": "9", "torch": "2.6.0rc1"}, fixed_in) == [
        "PyYAML 5.3.1: CVE-2020-14343 is fixed in 5.4",
        "gone 9: X-1 must not be installed",
        "torch 2.6.0rc1: CVE-2025-32434 is fixed in 2.6.0",
    ]


def test_without_pip_audit_or_its_service_that_is_said_in_one_line(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert audit.run_pip_audit() == (True, "pip-audit: skipped, it is not installed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    def unreachable(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nConnectionError: pypi.org")

    monkeypatch.setattr(subprocess, "run", unreachable)
    good, line = audit.run_pip_audit()
    assert good
    assert line == "pip-audit: skipped, its service cannot be reached (ConnectionError: pypi.org)"


def test_what_pip_audit_finds_fails_the_audit(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, stdout="table", stderr="Found 1 known vulnerability in 1 package")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", found)
    good, line = audit.run_pip_audit()
    assert not good
    assert "Found 1 known vulnerability" in line


def test_what_is_installed_here_passes() -> None:
    done = subprocess.run([sys.executable, str(PATH)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert " advisories as known on 20" in done.stdout
