"""Damaged files: the YAML of `--config`, and tables like `published.csv`."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path
from typing import Any

import yaml

from benchmarks import compare
from benchmarks.reliability.damage import (
    damaged_bytes,
    damaged_file,
    damaged_tree,
    json_text,
)
from benchmarks.reliability.target import ACCEPTED, REFUSED, Target, Unanswered, refusal
from benchmarks.settings import CompareSettings, as_plain
from reports.fields import RunStoreError
from reports.published_file import PUBLISHED, read_numbers


class ConfigTarget(Target):
    """YAML files of `--config`."""

    name = "configurations"
    share = 0.35
    _TEXTS = (
        "a: &a [x, x]\nb: &b [*a, *a]\nmethods: [*b, *b]\n",
        "methods: !!python/object/apply:os.mkdir [unpickled]\n",
        "!!python/object/apply:os.system ['touch unpickled']\n",
        "<<: {seeds: 2}\n",
        "seeds: 2001-99-99\n",
        "? [a, b]\n: 1\n",
        "--- 1\n--- 2\n",
        "seeds: 1\nseeds: 2\n",
        "options: {bilora: {rho: .inf}}\n",
        "[" * 5000,
        "{a: " * 3000,
        "seeds: 0x10\nalpha: 1_0\nrank: 1:30\n",
    )

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`: what `--print-config` says of it."""
        path = place / "config.yaml"
        good = {name: as_plain(value) for name, value in vars(CompareSettings()).items()}
        kept = {name: good[name] for name in draw.sample(sorted(good), draw.randrange(1, 8))}
        action = draw.random()
        if action < 0.15:
            text: bytes = draw.choice(self._TEXTS).encode()
        else:
            tree = damaged_tree(kept, draw, times=draw.choice((1, 1, 2)))
            text = _yaml(tree).encode("utf-8", "surrogatepass")
            text = damaged_bytes(text, draw) if action < 0.5 else text
        path.write_bytes(text)
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = compare.main(["--config", str(path), "--print-config"])
        said = errors.getvalue()
        if code == compare.EXIT_OK:
            return ACCEPTED
        if code != compare.EXIT_USAGE or not said.startswith("error: ") or said.count("\n") != 1:
            raise Unanswered(f"exit code {code}, and on standard error: {said[:300]!r}")
        return REFUSED


def _yaml(tree: Any) -> str:
    try:
        return yaml.safe_dump(tree)
    except yaml.YAMLError:
        return json_text(tree)  # JSON is YAML, nearly


class PublishedTarget(Target):
    """Files like `published.csv`."""

    name = "published.csv"
    share = 0.2

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`."""
        path = place / "published.csv"
        lines = PUBLISHED.read_bytes().splitlines(keepends=True)
        start = draw.randrange(1, len(lines) - 10)
        path.write_bytes(lines[0] + b"".join(lines[start : start + 10]))
        damaged_file(path, draw, outside=self.outside)
        try:
            read_numbers(path)
        except RunStoreError as error:
            return refusal(error)
        return ACCEPTED
