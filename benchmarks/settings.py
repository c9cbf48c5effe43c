"""The settings of a comparison: every field is a flag, a YAML key, and a line of `--help`.

Flags override the YAML file, the file overrides the defaults. All of it is read and checked before any work
starts; the first thing that cannot be used is answered by one line that names the flag.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import yaml

from benchmarks import parsing
from benchmarks.errors import UsageError, nearest
from benchmarks.landscapes import KINDS as LANDSCAPES
from benchmarks.model_settings import ModelSettings
from benchmarks.models import shipped_models
from benchmarks.parsing import setting
from benchmarks.tasks import DATA_TASKS, TASKS
from bilora.methods import METHODS
from bilora.variants import VARIANTS


@dataclass(frozen=True, kw_only=True)
class CompareSettings(ModelSettings):
    """What `python -m benchmarks.compare` is asked to do. None stands for "as calibrated for the task"."""

    methods: tuple[str, ...] = setting(
        ("lora", "lora-sam", "bilora"), parsing.names, "methods to compare; dora+bilora: on a variant", metavar="A,B"
    )
    tasks: tuple[str, ...] = setting(
        ("pocket-math",), parsing.names, "tasks to train on, or your own data as jsonl:FILE", metavar="A,B"
    )
    data: Path | None = setting(
        None,
        parsing.optional(parsing.path),
        "folder or file of local JSON or Parquet for tasks on published data; none: the hub",
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
    evaluations: int = setting(6, parsing.integer(minimum=0), "validation losses taken during training")
    evaluation_examples: int = setting(64, parsing.integer(minimum=1), "examples of each of them")
    evaluation_batch_size: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "rows at a time in evaluations"
    )
    test_examples: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "test examples to score; none: all"
    )
    measure: bool = setting(True, parsing.switch, "measure sharpness after training", metavar="true|false")
    measure_examples: int = setting(16, parsing.integer(minimum=1), "training examples that sharpness is measured on")
    spaces: tuple[str, ...] = setting(
        ("full", "lora"), parsing.names, "spaces of the measurement: full, lora, tangent", metavar="A,B"
    )
    radius: float = setting(
        0.05,
        parsing.number(minimum=0, exclusive=True),
        "radius of worst-case sharpness, Frobenius norm in weight space",
        metavar="X",
    )
    average_radius: float = setting(
        1.0,
        parsing.number(minimum=0, exclusive=True),
        "radius of average-case sharpness, Frobenius norm in weight space",
        metavar="X",
    )
    top: int = setting(3, parsing.integer(minimum=0), "largest Hessian eigenvalues per space")
    bottom: int = setting(1, parsing.integer(minimum=0), "smallest Hessian eigenvalues per space")
    tolerance: float = setting(
        5e-3,
        parsing.number(minimum=0, exclusive=True),
        "residual at which eigenvalues stop, relative to the largest",
        metavar="X",
    )
    ascent_steps: int = setting(10, parsing.integer(minimum=1), "steps of projected ascent for the worst case")
    max_products: int = setting(60, parsing.integer(minimum=1), "Hessian products per space at most")
    landscape: tuple[str, ...] | None = setting(
        None,
        parsing.optional(parsing.names),
        f"also store for the report's figures, in every space: {', '.join(LANDSCAPES)}",
        metavar="A,B",
    )
    score: tuple[str, ...] | None = setting(
        None, parsing.optional(parsing.names), "tasks of lm-eval to score each run's adapter on", metavar="A,B"
    )
    score_limit: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "examples of each of them; none: all"
    )
    score_batch_size: int = setting(16, parsing.integer(minimum=1), "examples of them at a time")
    score_include_path: Path | None = setting(
        None, parsing.optional(parsing.path), "folder with YAML tasks of your own for --score", metavar="FOLDER"
    )
    confirm_run_unsafe_code: bool = setting(
        False,
        parsing.switch,
        "allow tasks of --score that run what the model writes, in the sandbox",
        metavar="true|false",
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
    threads: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "CPU threads; none: as torch chooses"
    )


#: Settings that a task's recipe decides if they are not given.
OF_THE_RECIPE = ("steps", "batch_size", "micro_batch_size", "learning_rate", "max_length", "evaluation_batch_size")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours to word."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed with the usage and ended the process for."""
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a command line gives.

    Attributes:
        values: Settings that were given, by a flag or in the file of `--config`; the others have their defaults.
        preset: Name of a preset whose settings stand below these, or None.
        print_config: Print all settings and stop.
        dry_run: Print the plan and stop.
        list_presets: Print the presets and stop.
    """

    values: dict[str, Any]
    preset: str | None = None
    print_config: bool = False
    dry_run: bool = False
    list_presets: bool = False


def read_given(arguments: Sequence[str]) -> Given:
    """Read the command line and the YAML file it may name.

    Raises:
        UsageError: At the first flag, key or value that cannot be used.
    """
    parser = _build_parser()
    known, unknown = parser.parse_known_args(arguments)
    flags = [option for action in parser._actions for option in action.option_strings]
    if unknown:
        flag = unknown[0].split("=")[0]
        raise UsageError(f"unknown argument {flag!r}{nearest(flag, flags)}; --help lists all flags")
    given = vars(known)
    switches = {name: given.pop(name) for name in ("preset", "print_config", "dry_run", "list_presets")}
    config = given.pop("config")
    values = _read_file(Path(config)) if config is not None else {}
    values |= {name: read_setting(name, raw, origin="") for name, raw in given.items()}
    return Given(values=values, **switches)


def _build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m benchmarks.compare",
        description="Train each method under one protocol, score it, measure its sharpness in the LoRA space and in\n"
        "the full weight space, and write one report. Finished runs are kept: the same command does what is missing.",
        epilog=_names() + "\n\nAny flag can stand in the YAML file as a key, with underscores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE.yaml", default=None, help="settings in YAML; flags override them")
    parser.add_argument(
        "--preset", metavar="NAME", default=None, help="an experiment of the paper; --config and flags override it"
    )
    parser.add_argument("--list-presets", action="store_true", default=False, help="print the presets and stop")
    parser.add_argument("--print-config", action="store_true", default=False, help="print all settings and stop")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        default=False,
        help="print the runs, their steps, what is finished, an estimate of time and memory, and stop",
    )
    for entry in fields(CompareSettings):
        default = as_plain(entry.default if entry.name != "options" else {})
        unset = "as the task's recipe" if entry.name in OF_THE_RECIPE else "none"
        shown = ",".join(default) if isinstance(default, list) else unset if default in (None, {}) else default
        parser.add_argument(
            _flag(entry.name), metavar=entry.metadata["metavar"], help=f"{entry.metadata['help']} (default: {shown})"
        )
    return parser


def _names() -> str:
    """List methods with their options, and tasks, as the head of this command's help ends."""
    lines = [f"variants, as in dora+bilora: {', '.join(VARIANTS)}", "methods, and what --options can set for them:"]
    for name, method in METHODS.items():
        lines.append(f"  {name}: {method.summary}")
        for entry in fields(method.options_class):
            default = "none" if entry.default is None else entry.default
            lines.append(f"    {name}.{entry.name}: {entry.metadata['help']} (default: {default})")
    lines.append(f"\ntasks: {', '.join(TASKS)}\ntasks on published data (hub, or --data): {', '.join(DATA_TASKS)}")
    lines.append("your own data: jsonl:FILE with instruction and response, or messages, on every line")
    lines.append(f"models that ship: {', '.join(shipped_models())}; others: a folder, or OWNER/NAME on the hub")
    return "\n".join(lines)


def _flag(name: str) -> str:
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
        raise UsageError(f"{_flag(name)}: found {raw!r}{origin}; expected {error}") from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"--config: {path} cannot be read: {error.strerror}; expected a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--config: {path} is not valid YAML: {reason}") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UsageError(f"--config: {path} holds a {type(content).__name__}; expected 'name: value' lines")
    known = [entry.name for entry in fields(CompareSettings)]
    values = {}
    for key, raw in content.items():
        if key not in known:
            raise UsageError(f"--config: {path} has unknown key {key!r}{nearest(str(key), known)}; --help lists all")
        values[key] = read_setting(key, raw, origin=f" in {path}")
    return values


def as_plain(value: Any) -> Any:
    """Return a value as YAML can hold it."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def to_yaml(settings: CompareSettings) -> str:
    """Return the settings as a YAML file that `--config` reads back to the same settings."""
    content = {entry.name: as_plain(getattr(settings, entry.name)) for entry in fields(settings)}
    return yaml.safe_dump(content, sort_keys=False)
