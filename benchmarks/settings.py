"""The settings of a comparison: every field is a flag, a YAML key, and a line of `--help`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from benchmarks import parsing
from benchmarks.errors import UsageError, shortened
from benchmarks.executor_settings import ExecutorSettings
from benchmarks.measurement_settings import MeasurementSettings
from benchmarks.model_settings import ModelSettings
from benchmarks.parsing import setting
from benchmarks.picture_settings import PictureSettings
from benchmarks.schedules import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class CompareSettings(ExecutorSettings, MeasurementSettings, PictureSettings, ModelSettings):
    """What `python -m benchmarks.compare` is asked to do. None stands for "as calibrated for the task"."""

    methods: tuple[str, ...] = setting(
        ("lora", "lora-sam", "bilora"), parsing.names, "methods to compare; dora+bilora: on a variant", metavar="A,B"
    )
    tasks: tuple[str, ...] = setting(
        ("pocket-math",),
        parsing.names,
        "tasks to train on, or your own data as jsonl:FILE or dreambooth:FOLDER",
        metavar="A,B",
    )
    data: Path | None = setting(
        None,
        parsing.optional(parsing.path),
        "folder or file of local JSON or Parquet, or folder of pictures, for tasks on published data; none: the hub",
        metavar="PATH",
    )
    seeds: int = setting(
        1, parsing.integer(minimum=1), "paired seeds 0..N-1: same data order and adapter start per seed"
    )
    out: Path = setting(Path("comparison"), parsing.path, "output folder: runs, results.csv, report", metavar="FOLDER")
    baseline: str = setting(
        "lora",
        parsing.text,
        "method that the others are compared with; the first of --methods where that is not among them",
        metavar="METHOD",
    )
    options: dict[str, dict[str, Any]] = setting(
        {}, parsing.method_options, "options of methods, e.g. bilora.rho=0.1,lora-sam.rho=0.02", metavar="M.O=V"
    )
    tune: int | None = setting(
        None,
        parsing.optional(parsing.integer(minimum=2)),
        "trials of every method (learning rate, and radius where it has one) on validation examples; none: untuned",
    )
    steps: int | None = setting(None, parsing.optional(parsing.integer(minimum=1)), "optimizer steps")
    batch_size: int | None = setting(None, parsing.optional(parsing.integer(minimum=1)), "examples per optimizer step")
    micro_batch_size: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "examples per forward pass, or the whole batch"
    )
    learning_rate: float | None = setting(
        None, parsing.optional(parsing.number(minimum=0, exclusive=True)), "peak learning rate of AdamW", metavar="X"
    )
    warmup: float = setting(
        0.03, parsing.number(minimum=0, maximum=0.99), "share of the steps for linear warm-up", metavar="X"
    )
    schedule: str = setting(
        "cosine",
        parsing.choice(*SCHEDULES),
        "learning rate after the warm-up: cosine or linear to zero, or constant",
        metavar="|".join(SCHEDULES),
    )
    weight_decay: float = setting(0.0, parsing.number(minimum=0), "weight decay of the primary adapter", metavar="X")
    max_grad_norm: float = setting(
        1.0, parsing.number(minimum=0), "gradient clip, L2 norm per parameter group; 0: off", metavar="X"
    )
    max_length: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=8)), "tokens of the longest row; longer ones are cut"
    )
    packing: bool = setting(
        False,
        parsing.switch,
        "several examples in one training row of --max-length tokens, kept apart; needs --steps",
        metavar="true|false",
    )
    rank: int = setting(8, parsing.integer(minimum=1), "LoRA rank r")
    alpha: float = setting(
        16.0, parsing.number(minimum=0, exclusive=True), "LoRA alpha; the scaling s is alpha / r", metavar="X"
    )
    dropout: float = setting(0.0, parsing.number(minimum=0, maximum=0.99), "LoRA dropout", metavar="X")
    evaluations: int = setting(6, parsing.integer(minimum=0), "times that losses are taken in training, at most")
    evaluation_examples: int = setting(
        64, parsing.integer(minimum=1), "validation and training examples of each; training examples scored at the end"
    )
    evaluation_batch_size: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "rows at a time in evaluations"
    )
    test_examples: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "test examples to score; none: all"
    )
    dynamics: int | None = setting(
        None,
        parsing.optional(parsing.integer(minimum=1)),
        "record both adapters and LoRA-SAM's perturbation every N steps, in dynamics.json of a run",
    )
    device: str = setting("auto", parsing.choice("auto", "cpu", "cuda"), "auto, cpu or cuda", metavar="NAME")
    cuda_graphs: bool = setting(
        False,
        parsing.switch,
        "replay forward and backward passes as CUDA graphs: faster where a GPU waits for Python, as with small models",
        metavar="true|false",
    )
    checkpoint_every: str | int | None = setting(
        "60s",
        parsing.optional(parsing.interval),
        "checkpoints of a run in training, from which a killed command goes on: 60s goes by time, at less than a "
        "hundredth of it; N by steps; none: a killed run begins anew, as one with --dynamics does",
        metavar="60s|N",
    )
    threads: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "CPU threads; none: as torch chooses"
    )


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def read_setting(name: str, raw: Any, *, origin: str) -> Any:
    """Read the value of a setting; `origin` says where it stands.

    Raises:
        UsageError: If it cannot be used, naming the flag.
    """
    reader = next(entry for entry in fields(CompareSettings) if entry.name == name).metadata["reader"]
    try:
        return reader(raw)
    except ValueError as error:
        raise UsageError(f"{flag_of(name)}: found {shortened(raw)}{origin}; expected {error}") from None


def as_plain(value: Any) -> Any:
    """Return a value as YAML can hold it."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def to_yaml(settings: CompareSettings) -> str:
    """Return the settings as a YAML file that `--config` reads back to the same settings."""
    content = {entry.name: as_plain(getattr(settings, entry.name)) for entry in fields(settings)}
    return yaml.safe_dump(content, sort_keys=False)
