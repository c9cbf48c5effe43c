"""`python -m benchmarks.curvature peers`: our algorithms beside PyHessian and hessian-eigenthings, in one run.

Eigenvalues are compared at equal accuracy, each library at its cheapest setting that reaches it; trace and density at
equal products, by their true errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import parsing
from benchmarks.curvature.peer_cases import CASES, build_case
from benchmarks.curvature.peer_comparison import QUANTITIES, PeerSettings, compare
from benchmarks.curvature.records import RecordFile
from benchmarks.errors import UsageError, nearest
from benchmarks.flags import add_common_flags, read_device, read_flags, read_out
from benchmarks.one_line_parser import OneLineParser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.curvature peers", description=__doc__.split("\n\n")[1])
    add_common_flags(parser)
    whole, two = parsing.integer(minimum=1), parsing.integer(minimum=2)
    positive = parsing.number(minimum=0, exclusive=True)
    flags: dict[str, tuple[str, parsing.Reader, str]] = {
        "models": ("llama-small,t5-small", parsing.names, f"any of {', '.join(CASES)}"),
        "quantities": (",".join(QUANTITIES), parsing.names, "what to compare"),
        "count": ("5", whole, "top eigenvalues"),
        "accuracy": ("1e-3", positive, "true relative error of each that counts as reached"),
        "seeds": ("3", whole, "runs of every setting"),
        "products": ("60", parsing.integer(minimum=16), "products of a trace"),
        "draws": ("3", two, "probes of a density"),
        "steps": ("40", two, "Lanczos steps of a probe"),
        "reference_products": ("600", parsing.integer(minimum=64), "products of the trace's reference"),
        "reference_draws": ("8", two, "probes of the density's reference"),
        "iterations": ("300", whole, "PyHessian's most iterations for each eigenvalue"),
        "peer_seconds": ("300", positive, "no further setting is tried after so long"),
    }
    for flag, (default, _, text) in flags.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", default=default, help=f"{text} (default: {default})")
    try:
        options = parser.parse_args(arguments)
        values: dict[str, Any] = read_flags(options, {flag: reader for flag, (_, reader, _) in flags.items()})
        names = values.pop("models")
        for flag, given, known in (("models", names, CASES), ("quantities", values["quantities"], QUANTITIES)):
            for name in given:
                if name not in known:
                    raise UsageError(f"--{flag}: unknown {name!r}{nearest(name, known)}; known: {', '.join(known)}")
        device = read_device(options)
        file = RecordFile(read_out(options), device)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in names:
        compare(build_case(name, device=device), file, PeerSettings(**values))
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
