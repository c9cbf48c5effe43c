"""Audits the installed dependencies: against a committed list of advisories, and with pip-audit where it can be had.

The list (`advisories.toml`) names the first version without each vulnerability that is known to it; it says nothing of
later ones, and its date is printed. pip-audit knows them all, and needs a service on the network: where it is not
installed or cannot reach the service, that is said in one line and the list decides alone.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

ADVISORIES = Path(__file__).with_name("advisories.toml")


def installed() -> dict[str, str]:
    """Return the version of every installed distribution by its canonical name."""
    return {canonicalize_name(found.metadata["Name"]): found.version for found in distributions()}


def vulnerable(versions: Mapping[str, str], fixed_in: Mapping[str, list[list[str]]]) -> list[str]:
    """Return one line for each advisory that an installed version falls under."""
    found = []
    for name, advisories in sorted(fixed_in.items()):
        for first, advisory in advisories:
            version = versions.get(canonicalize_name(name))
            if version is not None and (first == "any" or Version(version) < Version(first)):
                remedy = "must not be installed" if first == "any" else f"is fixed in {first}"
                found.append(f"{name} {version}: {advisory} {remedy}")
    return found


def run_pip_audit() -> tuple[bool, str]:
    """Run pip-audit; returns whether it found nothing or could not be run, and one line that says which."""
    if importlib.util.find_spec("pip_audit") is None:
        return True, "pip-audit: skipped, it is not installed"
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--timeout", "10", "--skip-editable"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return True, "pip-audit: skipped, its service did not answer within 300 s"
    if done.returncode == 0:
        return True, "pip-audit: no known vulnerability"
    if "vulnerabilit" in done.stderr.lower():
        return False, f"pip-audit: {done.stderr.strip().splitlines()[0]}\n{done.stdout.strip()}"
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return True, f"pip-audit: skipped, its service cannot be reached ({reason[:200]})"


def main() -> int:
    """Run the audit; returns 1 if anything is vulnerable."""
    listed = tomllib.loads(ADVISORIES.read_text(encoding="utf-8"))
    versions, fixed_in = installed(), listed["fixed_in"]
    found = vulnerable(versions, fixed_in)
    count = sum(map(len, fixed_in.values()))
    known = f"{count} advisories as known on {listed['known_on']}"
    print(f"{len(versions)} installed distributions, {known}: {len(found)} found")
    print("".join(f"  {line}\n" for line in found), end="")
    good, line = run_pip_audit()
    print(line)
    return 0 if good and not found else 1


if __name__ == "__main__":
    sys.exit(main())
