"""`python -m benchmarks.curvature SCRIPT ...`: the curvature benchmarks by name; each has its own --help."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from benchmarks.errors import nearest

SCRIPTS = {
    "peers": "our algorithms beside PyHessian and hessian-eigenthings",
    "large": "products and eigenvalues of an eight-billion-parameter model",
    "scaling": "cost against parameters and against tokens",
    "plot": "the picture of what scaling measured",
}


def main(arguments: Sequence[str]) -> int:
    """Run one script; returns its exit code (0: done, 2: bad input)."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if name in SCRIPTS:
        # Imported when asked for: the others may need what this machine lacks.
        found: int = importlib.import_module(f"benchmarks.curvature.{name}").main(rest)
        return found
    usage = "usage: python -m benchmarks.curvature SCRIPT [FLAGS]\n\n" + "\n".join(
        f"  {script:<10}{text}" for script, text in SCRIPTS.items()
    )
    if name in ("-h", "--help"):
        print(usage)
        return 0
    found_text = f"unknown script {name!r}{nearest(name, SCRIPTS)}" if name else "no script was named"
    print(f"error: {found_text}\n{usage}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
