"""`python -m benchmarks.reliability kills|fuzz|overhead|scheduling`: tries what must not fail, and records how it went.

    python -m benchmarks.reliability kills --count 30
    python -m benchmarks.reliability fuzz --inputs 10000
    python -m benchmarks.reliability overhead
    python -m benchmarks.reliability scheduling --runs 10000 --workers 256

Each writes its section of benchmarks/results/reliability.json (or of --record FILE) and exits with 1 if anything was
lost, was not answered, cost too much, or idles.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Nothing here may reach the network, whatever name of a model an input holds.
os.environ["HF_HUB_OFFLINE"] = "1"

from benchmarks import parsing
from benchmarks.errors import UsageError, nearest
from benchmarks.one_line_parser import OneLineParser
from benchmarks.reliability.record import RESULTS, read_record, read_section, write_section

#: Share of a run that the store and the display may take.
MOST_OVERHEAD = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if all went as promised, 1 if not, 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser().parse_args(arguments)
        read_record(options.record)  # what is wrong with it is said before the trial, not after
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Where the record lies on this machine is no part of what was tried.
    place = arguments.index("--record") if "--record" in arguments else len(arguments)
    tried = [part for part in (*arguments[:place], *arguments[place + 2 :]) if not part.startswith("--record=")]
    command = shlex.join(["python", "-m", "benchmarks.reliability", *tried])
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        section, good = _TRIALS[options.trial](options, Path(name))
    write_section(options.record, options.trial, section, command=command)
    print(f"{options.trial}: {'as promised' if good else 'NOT as promised'}; recorded in {options.record}")
    return 0 if good else 1


def _kills(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    from benchmarks.reliability.kills import kill_sweeps

    section = kill_sweeps(folder, kills=options.count, seed=options.seed, say=_say)
    return section, section["lossless_kills"] == options.count


def _fuzz(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    from benchmarks.reliability.fuzz import fuzz, merged

    section = fuzz(folder, inputs=options.inputs, seed=options.seed, kinds=tuple(options.kinds), say=_say)
    if options.kinds:
        section = merged(read_section(options.record, "fuzz"), section)
    return section, section["answered"] == section["inputs"] and not section["findings"]


def _overhead(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    from benchmarks.reliability.overhead import measure_overhead

    section = measure_overhead(folder, steps=options.steps, say=_say)
    return section, section["share_of_the_run"] < MOST_OVERHEAD


def _scheduling(options: argparse.Namespace, _: Path) -> tuple[dict[str, Any], bool]:
    from benchmarks.reliability.scheduling import MOST_IDLE, simulate_scheduling

    section = simulate_scheduling(runs=options.runs, workers=options.workers, seed=options.seed, say=_say)
    return section, section["policies"]["longest first, learning"]["idle_share"] < MOST_IDLE


def _say(line: str) -> None:
    print(line, flush=True)


_TRIALS = {"kills": _kills, "fuzz": _fuzz, "overhead": _overhead, "scheduling": _scheduling}


def _positive(raw: str) -> int:
    try:
        return int(parsing.integer(minimum=1)(raw))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {raw!r}; expected {error}") from None


def _kind(raw: str) -> str:
    """Read the beginning of a kind's name: one that none has would try nothing and be as promised."""
    from benchmarks.reliability.targets import TARGETS

    known = [target.name for target in TARGETS]
    if not any(name.startswith(raw) for name in known):
        raise argparse.ArgumentTypeError(f"found {raw!r}{nearest(raw, known)}; expected one of {', '.join(known)}")
    return raw


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m benchmarks.reliability",
        description=(__doc__ or "").split("\n")[0],
        # Under a shortened name a flag would stay in what is recorded as the command.
        allow_abbrev=False,
    )
    parser.add_argument("--record", type=Path, default=RESULTS, metavar="FILE", help="JSON file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything drawn (default: 0)")
    trials = parser.add_subparsers(dest="trial", required=True)
    kills = trials.add_parser("kills", help="kill sweeps at random moments and let them go on")
    kills.add_argument("--count", type=_positive, default=30, metavar="N", help="kills (default: 30)")
    fuzz = trials.add_parser("fuzz", help="hand damaged inputs to everything that reads some")
    fuzz.add_argument("--inputs", type=_positive, default=10_000, metavar="N", help="how many (default: 10000)")
    fuzz.add_argument(
        "--kinds",
        nargs="*",
        default=[],
        type=_kind,
        metavar="NAME",
        help="kinds of input; those recorded before stay (default: all)",
    )
    overhead = trials.add_parser("overhead", help="time the store, the display and the checkpoints of a run")
    overhead.add_argument("--steps", type=_positive, default=None, metavar="N", help="steps (default: the task's)")
    scheduling = trials.add_parser("scheduling", help="simulate a grid of many runs on many workers")
    scheduling.add_argument("--runs", type=_positive, default=10_000, metavar="N", help="how many (default: 10000)")
    scheduling.add_argument("--workers", type=_positive, default=256, metavar="N", help="how many (default: 256)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
