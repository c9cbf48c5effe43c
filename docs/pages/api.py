"""The pages of the Python interface: every public name, on the page of its subject, from its docstring.

A name is public if its package lists it in `__all__`. Its page follows from the module that defines it, so that a new
name of a known module is there without a change here, and one of an unknown module stops the build.
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A page of the reference.

    Attributes:
        page: File name without its ending.
        title: Heading.
        package: Where the names are imported from.
        modules: Modules of the package whose public names stand here, in order.
        intro: What stands above them.
        others: Names from elsewhere that belong here, with their modules.
    """

    page: str
    title: str
    package: str
    modules: tuple[str, ...]
    intro: str
    others: tuple[str, ...] = ()


ROOT = Path(__file__).parents[2]
SUBJECTS = (
    Subject(
        page="bilora-training",
        title="bilora: training",
        package="bilora",
        modules=("attach", "optimizer", "trainer", "methods"),
        intro="Two calls for a loop of your own, a Trainer, and the base class of all methods.",
    ),
    Subject(
        page="bilora-adapters",
        title="bilora: adapters and variants",
        package="bilora",
        modules=("adapters", "effective", "variants", "quantised"),
        intro="The factors of a LoRA model, what they change in the weights, and the variants and 4-bit bases below.",
    ),
    Subject(
        page="bilora-speed",
        title="bilora: speed",
        package="bilora",
        modules=("compiled", "flat", "graphed"),
        intro="Compiled layers, one flat optimizer step, and passes replayed as CUDA graphs.",
    ),
    Subject(
        page="analysis-measuring",
        title="analysis: measuring",
        package="analysis",
        modules=("flatness", "settings", "objective", "losses", "scores", "sharding", "adapter_file", "errors"),
        intro="One call that measures a PEFT model, the objective it works on, and what can go wrong.",
    ),
    Subject(
        page="analysis-spaces",
        title="analysis: spaces",
        package="analysis",
        modules=("spaces",),
        intro="The coordinates in which flatness is measured.",
    ),
    Subject(
        page="analysis-curvature",
        title="analysis: curvature",
        package="analysis",
        modules=("operators", "spectrum", "extremes", "eigenpair", "density", "trace", "export", "pyhessian_backend"),
        intro="Matrix-vector products with Hessian, Gauss-Newton and Fisher, and what is computed from them.",
    ),
    Subject(
        page="analysis-sharpness",
        title="analysis: sharpness",
        package="analysis",
        modules=("sharpness",),
        intro="Rises of the loss at a radius: worst case, average case, by mini-batches, along the gradient.",
    ),
    Subject(
        page="analysis-landscape",
        title="analysis: landscapes",
        package="analysis",
        modules=("landscape",),
        intro="Lines, planes and trajectories through the loss.",
    ),
    Subject(
        page="analysis-capture",
        title="analysis: capture and dynamics",
        package="analysis",
        modules=("capture", "dynamics"),
        intro="How much of the full-space sharpness a method's perturbation sees, and how adapters move in training.",
    ),
    Subject(
        page="benchmarks-tasks",
        title="benchmarks: tasks",
        package="benchmarks.tasks",
        modules=("tasks",),
        intro="What a task is, for those who add one.",
    ),
    Subject(
        page="benchmarks-runs",
        title="benchmarks: runs",
        package="benchmarks",
        modules=(),
        intro="A comparison from Python, what determines a run, and the folder of finished ones.",
        others=("benchmarks.compare.main", "benchmarks.spec.RunSpec", "benchmarks.store.RunStore"),
    ),
    Subject(
        page="benchmarks-presets",
        title="benchmarks: presets",
        package="benchmarks.presets",
        modules=("presets",),
        intro="The experiments of the paper as values. The list is on [another page](../presets.md).",
    ),
    Subject(
        page="reports",
        title="reports: stored runs",
        package="reports",
        modules=("runs", "store", "fields"),
        intro="Reading what a comparison has stored, without torch.",
        others=("reports.render.render", "reports.render.RenderResult"),
    ),
)


def public_names(package: str) -> dict[str, str]:
    """Return the room of each public name of a package: the part of its module's name after the first dot."""
    module = importlib.import_module(package)
    return {name: _room(module, name) for name in getattr(module, "__all__", ())}


def _room(package: ModuleType, name: str) -> str:
    value = getattr(package, name)
    if _is_function(value) or inspect.isclass(value):
        return str(value.__module__).split(".")[1]
    # Constants know no module: theirs is one that has them.
    top = package.__name__.split(".")[0]
    rooms = [room for subject in SUBJECTS if subject.package == package.__name__ for room in subject.modules]
    return next(room for room in rooms if hasattr(importlib.import_module(f"{top}.{room}"), name))


def _is_function(value: object) -> bool:
    return inspect.isfunction(inspect.unwrap(value)) if callable(value) else False


def names_of(subject: Subject) -> list[str]:
    """Return the public names of a subject: functions, classes, constants, in the order of its modules."""
    package = importlib.import_module(subject.package)
    rooms = public_names(subject.package)
    found = [name for name, room in rooms.items() if room in subject.modules]
    return sorted(found, key=lambda name: (subject.modules.index(rooms[name]), _rank(getattr(package, name)), name))


def _rank(value: object) -> int:
    return 0 if _is_function(value) else 1 if inspect.isclass(value) else 2


def page(subject: Subject) -> str:
    """Return the page of a subject in Markdown."""
    lines = [f"# {subject.title}", "", subject.intro, ""]
    for full in [*subject.others, *(f"{subject.package}.{name}" for name in names_of(subject))]:
        lines += [f"## {full.rpartition('.')[2]}", "", *_entry(full), ""]
    return "\n".join(lines)


def _entry(full: str) -> list[str]:
    package, _, name = full.rpartition(".")
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value):
        return ["```{eval-rst}", f".. autoclass:: {full}", "   :members:", "   :member-order: bysource", "```"]
    if _is_function(value):
        return ["```{eval-rst}", f".. autofunction:: {full}", "```"]
    return [f"`{full}`: {comment(package.split('.')[0], name)}"]


def comment(package: str, name: str) -> str:
    """Return what the source says of a constant, in comments above it (`#:`) or in a string below.

    Raises:
        RuntimeError: If it says nothing.
    """
    from sphinx.pycode import ModuleAnalyzer

    assigned = re.compile(rf"^{name}\b[^=\n]*=", flags=re.MULTILINE)
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if assigned.search(text):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found = ModuleAnalyzer.for_string(text, module)
            found.analyze()
            if ("", name) in found.attr_docs:
                return "\n".join(found.attr_docs["", name]).strip()
    raise RuntimeError(f"{package}: nothing is said of the public constant {name}; a comment above it begins with '#:'")


def write_pages(folder: Path) -> None:
    """Write the pages and the one that lists them.

    Raises:
        RuntimeError: If a public name has no page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if lost := unplaced():
        raise RuntimeError(f"no subject of docs/pages/api.py takes these names: {', '.join(lost)}")
    for subject in SUBJECTS:
        (folder / f"{subject.page}.md").write_text(page(subject), encoding="utf-8")
    lines = ["# Python", "", "```{toctree}", ":maxdepth: 2", "", *(subject.page for subject in SUBJECTS), "```"]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def unplaced() -> list[str]:
    """Return the public names that no subject takes."""
    packages = dict.fromkeys(subject.package for subject in SUBJECTS)
    placed = {f"{subject.package}.{name}" for subject in SUBJECTS for name in names_of(subject)}
    return [
        full for package in packages for name in public_names(package) if (full := f"{package}.{name}") not in placed
    ]
