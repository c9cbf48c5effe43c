"""The four kinds of input that somebody else may have written, each with good examples and with what must answer it.

A target writes one damaged input and hands it to the code that a command would use. It returns "accepted" or "refused";
whatever else it raises is a finding. Refusals have to be one line that is complete.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from safetensors.torch import save_file

from analysis import AnalysisError
from analysis.adapter_file import read_adapter
from benchmarks import compare
from benchmarks.errors import UsageError
from benchmarks.harness.subjects import adapter_subjects
from benchmarks.reliability.damage import (
    SCRIPT,
    damaged_bytes,
    damaged_file,
    damaged_tree,
    is_small_file,
    json_text,
)
from benchmarks.reliability.stores import write_small_store
from benchmarks.settings import CompareSettings, as_plain
from reports.fields import RunStoreError
from reports.published_file import PUBLISHED, read_numbers
from reports.render import render

ACCEPTED, REFUSED = "accepted", "refused"
#: Share of the run folders whose report is rendered with its figures.
_DRAWN = 0.01


class Unanswered(AssertionError):
    """An input was answered in a way that is none: no line, several lines, or text of the input that is not escaped."""


class Target(ABC):
    """A kind of input.

    Args:
        folder: A folder for good examples; inputs are made in another one.
        outside: A folder beside, that links lead to and that nothing may touch.
    """

    name: str
    #: Share of all inputs, and seconds that one may take.
    share: float
    seconds: float = 60.0

    def __init__(self, folder: Path, outside: Path) -> None:
        self.folder = folder
        self.outside = outside

    @abstractmethod
    def answer(self, place: Path, draw: random.Random) -> str:
        """Make an input in an empty folder and have it answered."""


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


class StoreTarget(Target):
    """Folders of runs, for `reports.render`."""

    name = "run folders"
    share = 0.15

    def __init__(self, folder: Path, outside: Path) -> None:
        super().__init__(folder, outside)
        self._good = folder / "store"
        write_small_store(self._good)
        render(self._good, folder / "report")  # matplotlib makes its caches on the first call
        self._files = [path.relative_to(self._good) for path in sorted(self._good.rglob("*")) if path.is_file()]

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`: the page must be written, and show nothing that a browser would run."""
        store = place / "store"
        shutil.copytree(self._good, store)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            path = store / draw.choice(self._files)
            if path.suffix == ".json" and is_small_file(path) and draw.random() < 0.7:
                with contextlib.suppress(ValueError):
                    tree = json.loads(path.read_bytes())
                    path.write_text(json_text(damaged_tree(tree, draw, times=draw.choice((1, 1, 3)))))
            elif path.exists():
                damaged_file(path, draw, outside=self.outside)
        if draw.random() < 0.02:
            (store / "report").symlink_to(self.outside)
        try:
            # A figure takes a hundred times as long as all that is read and printed.
            with contextlib.nullcontext() if draw.random() < _DRAWN else _without_figures():
                result = render(store)
        except RunStoreError as error:
            return _one_line(error)
        if SCRIPT in result.page.read_text(encoding="utf-8"):
            raise Unanswered("the page holds a script of the input as it is")
        return ACCEPTED


@contextlib.contextmanager
def _without_figures() -> Iterator[None]:
    with patch("reports.sections.draw_task", return_value=()), patch("reports.sections.draw_summary", return_value=()):
        yield


class AdapterTarget(Target):
    """Folders of adapters, for what `analysis.measure` and `benchmarks.score` read of them."""

    name = "adapter folders"
    share = 0.3

    def __init__(self, folder: Path, outside: Path) -> None:
        super().__init__(folder, outside)
        self._good = folder / "adapter"
        write_small_adapter(self._good)

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`."""
        adapter = place / "adapter"
        shutil.copytree(self._good, adapter)
        config, weights = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
        action = draw.random()
        if action < 0.5:
            tree = json.loads(config.read_text())
            config.write_text(json_text(damaged_tree(tree, draw, times=draw.choice((1, 1, 2)))))
        elif action < 0.85:
            damaged_file(weights, draw, outside=self.outside)
        else:
            damaged_file(config, draw, outside=self.outside)
        if draw.random() < 0.1:
            weights.unlink(missing_ok=True) if not weights.is_dir() else weights.rmdir()
            (adapter / "adapter_model.bin").write_bytes(damaged_bytes(b"\x80\x02.", draw))
        answers = []
        for read in (read_adapter, lambda folder: adapter_subjects([folder], model="pocket-llama", quantize=None)):
            try:
                read(adapter)
                answers.append(ACCEPTED)
            except (AnalysisError, UsageError) as error:
                answers.append(_one_line(error))
        return ACCEPTED if ACCEPTED in answers else REFUSED


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
            return _one_line(error)
        return ACCEPTED


def _one_line(error: Exception) -> str:
    text = str(error)
    if not text or "\n" in text or len(text) > 3000:
        raise Unanswered(f"a refusal of {len(text)} characters, {text.count(chr(10))} line ends: {text[:200]!r}")
    return REFUSED


def write_small_adapter(folder: Path) -> None:
    """Write a LoRA adapter of rank 2 on two layers."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"base_model.model.model.layers.0.self_attn.{name}.lora_{part}.weight": torch.randn(shape, generator=generator)
        for name in ("q_proj", "v_proj")
        for part, shape in (("A", (2, 16)), ("B", (16, 2)))
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "pocket-llama", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {},
        "alpha_pattern": {}, "use_rslora": False, "use_dora": False, "layer_replication": None, "bias": "none",
        "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


TARGETS: tuple[type[Target], ...] = (ConfigTarget, StoreTarget, AdapterTarget, PublishedTarget)
