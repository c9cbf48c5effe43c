"""The command line of a comparison: its flags in groups, its help, and the YAML file that it may name.

Flags override the YAML file, the file overrides the defaults. All of it is read and checked before any work
starts; the first thing that cannot be used is answered by one line that names the flag.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError, nearest, shortened
from benchmarks.executor_settings import ExecutorSettings
from benchmarks.measurement_settings import MeasurementSettings
from benchmarks.model_settings import ModelSettings
from benchmarks.models import shipped_models
from benchmarks.one_line_parser import OneLineParser
from benchmarks.picture_settings import PictureSettings
from benchmarks.safe_yaml import UnsafeYaml, read_yaml
from benchmarks.settings import CompareSettings, as_plain, flag_of, read_setting
from benchmarks.tasks import DATA_TASKS, TASKS
from bilora.methods import METHODS
from bilora.variants import VARIANTS

#: Settings that a task's recipe decides if they are not given.
OF_THE_RECIPE = ("steps", "batch_size", "micro_batch_size", "learning_rate", "max_length", "evaluation_batch_size")
_GROUPS: dict[type, str] = {
    CompareSettings: "comparison and training",
    ModelSettings: "the model",
    MeasurementSettings: "measuring and scoring",
    PictureSettings: "pictures",
    ExecutorSettings: "several runs at once",
}


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
    groups = {kind: parser.add_argument_group(title) for kind, title in _GROUPS.items()}
    for entry in sorted(fields(CompareSettings), key=lambda entry: list(groups).index(_owner(entry.name))):
        default = as_plain(entry.default if entry.name != "options" else {})
        unset = "as the task's recipe" if entry.name in OF_THE_RECIPE else "none"
        shown = ",".join(default) if isinstance(default, list) else unset if default in (None, {}) else default
        groups[_owner(entry.name)].add_argument(
            flag_of(entry.name), metavar=entry.metadata["metavar"], help=f"{entry.metadata['help']} (default: {shown})"
        )
    return parser


def _owner(name: str) -> type:
    """Return the part of the settings that a field belongs to."""
    return next(kind for kind in CompareSettings.__mro__ if name in vars(kind).get("__annotations__", {}))


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
    lines.append("your own pictures: dreambooth:FOLDER, with captions in metadata.jsonl if it has any")
    lines.append(f"models that ship: {', '.join(shipped_models())}; others: a folder, or OWNER/NAME on the hub")
    return "\n".join(lines)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        if isinstance(error, UnsafeYaml):
            raise UsageError(f"--config: {path} is not valid YAML: {error}") from None
        # A path with a null byte is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--config: {path} cannot be read: {reason}; expected a YAML file") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UsageError(f"--config: {path} holds a {type(content).__name__}; expected 'name: value' lines")
    known = [entry.name for entry in fields(CompareSettings)]
    values = {}
    for key, raw in content.items():
        if key not in known:
            near = nearest(str(key), known)
            raise UsageError(f"--config: {path} has unknown key {shortened(key)}{near}; --help lists all")
        values[key] = read_setting(key, raw, origin=f" in {path}")
    return values
