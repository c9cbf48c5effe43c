"""Times the report of 1,000 runs: `python -m benchmarks.report_cost [--out FILE]`.

Writes a store of 20 methods, five tasks and ten seeds with 200 scored examples a run, and measures the import of
`reports`, the rendering (wall and CPU time, in a process of its own) and, where a Chromium is installed, how long
the page takes to open. The scores are random numbers: the store is about size, not about methods.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import parsing
from benchmarks.environment import environment
from benchmarks.errors import UsageError
from benchmarks.flags import read_flags, read_out
from benchmarks.one_line_parser import OneLineParser
from reports.style import METHODS

_METHODS = tuple(METHODS)[:20]
_TASKS = tuple(f"task-{number}" for number in range(1, 6))
_STEPS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 2 for bad input."""
    parser = OneLineParser(prog="python -m benchmarks.report_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--out", metavar="FILE.json", help="also write what is printed")
    parser.add_argument("--seeds", default="10", help="runs of every method and task (default: %(default)s)")
    parser.add_argument("--examples", default="200", help="scored examples a run (default: %(default)s)")
    try:
        options = parser.parse_args(arguments)
        whole = parsing.integer(minimum=1)
        given, out = read_flags(options, {"seeds": whole, "examples": whole}), read_out(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = write_store(folder / "store", **given)
        record: dict[str, Any] = {
            "runs": runs,
            "methods": len(_METHODS),
            "tasks": len(_TASKS),
            "examples": given["examples"],
        }
        record |= {"import_seconds": _import_seconds(), **_render(folder)}
        record |= {"load_average": os.getloadavg()[0], "environment": environment(torch.device("cpu"))}
    text = json.dumps(record, indent=1)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def write_store(folder: Path, *, seeds: int, examples: int) -> int:
    """Write a store of all methods and tasks with random scores; returns the number of runs."""
    planned = [
        {"key": f"{task}-{method}-s{seed}", "method": method, "task": task, "seed": seed}
        for task in _TASKS
        for method in _METHODS
        for seed in range(seeds)
    ]
    comparison = {"schema": 1, "command": "", "created": "", "methods": _METHODS, "tasks": _TASKS, "baseline": "lora"}
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(comparison | {"planned": planned}))
    generator = np.random.default_rng(0)
    for plan in planned:
        run = folder / "runs" / str(plan["key"])
        run.mkdir(parents=True)
        scores = (generator.random(examples) < 0.7).astype(float).tolist()
        answers = [
            {"index": i, "prompt": f"question {i}", "reference": "yes", "generated": "yes" if s else "no", "score": s}
            for i, s in enumerate(scores)
        ]
        losses = (np.exp(-np.arange(_STEPS) / 30) + 0.05 * generator.random(_STEPS)).tolist()
        history = [{"step": step + 1, "loss": loss, "validation_loss": loss} for step, loss in enumerate(losses)]
        row = {name: plan[name] for name in ("method", "task", "seed")}
        row |= {"metric": "exact match", "full_marks": 100, "score": sum(scores) / examples, "train_score": 0.9}
        row |= {
            "train_loss": 0.1,
            "eval_loss": losses[-1],
            "generalization_gap": 0.1,
            "step_seconds": 0.05 + losses[-1],
        }
        row |= {"gradient_evaluations": 100.0, "peak_memory_bytes": 10**9, "perturbation_norm": 0.05}
        spec = {
            "method": plan["method"],
            "options": {"rho": 0.05},
            "model": "none",
            "steps": _STEPS,
            "learning_rate": 1e-3,
        }
        record = {"schema": 1, "key": plan["key"], "spec": spec, "row": row, "failure": None, "seconds": {"train": 1.0}}
        for file, content in (("run", record), ("history", history), ("examples", answers)):
            (run / f"{file}.json").write_text(json.dumps(content))
    return len(planned)


def _render(folder: Path) -> dict[str, Any]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "reports.render", str(folder / "store"), "--out", str(folder / "out")]
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    page = folder / "out" / "index.html"
    return {
        "render_seconds": wall,
        "render_cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "page_bytes": page.stat().st_size,
        "page_open_seconds": _open_seconds(page),
    }


def _import_seconds() -> dict[str, Any]:
    """Return the import time of the package, the least of three, and whether it took torch along."""
    code = (
        "import time; start = time.perf_counter(); import reports.render, sys; "
        "print(time.perf_counter() - start, 'torch' in sys.modules)"
    )
    found = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    return {
        "least_of_three": min(float(done.stdout.split()[0]) for done in found),
        "torch_imported": found[0].stdout.split()[1] == "True",
    }


def _open_seconds(page: Path) -> float | None:
    """Return the time from navigation until the page is loaded, scripted and laid out; None without a Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return None
    # A copy that tells its own time; the page's policy allows no script but its own.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    clock = "addEventListener('load', () => { document.body.offsetHeight; document.title = performance.now(); })"
    copy = page.with_name("timed.html")
    copy.write_text(text.replace("</body>", f"<script>{clock}</script></body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    found = []
    for _ in range(3):
        done = subprocess.run([program, *flags, copy.as_uri()], check=True, capture_output=True, text=True)
        title = re.search(r"<title>([0-9.]+)</title>", done.stdout)
        if title is None:
            raise RuntimeError(f"the page told no time: {done.stdout[:200]!r}")
        found.append(float(title[1]) / 1000.0)
    return min(found)


if __name__ == "__main__":
    sys.exit(main())
