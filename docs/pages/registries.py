"""Pages of what has a registry: methods with their options, adapter variants, tasks, and the paper's presets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import yaml

from benchmarks.methods import measured_costs
from benchmarks.presets import Preset, canonical_names, find_preset
from benchmarks.settings import as_plain
from benchmarks.tasks import DATA_TASKS, TASKS, Task
from bilora.methods import METHODS, Method
from bilora.variants import VARIANTS, AdapterVariant


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines) + "\n"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def methods_page() -> str:
    """Return the page of all methods: one table, then the facts and options of each."""
    measured = measured_costs()
    rows = [
        (f"[`{name}`](#method-{name})", cls.summary, cls.perturbs, _published(cls), measured.get(name, "-"))
        for name, cls in METHODS.items()
    ]
    head = ("method", "rule", "perturbs", "cost in the paper", "cost here")
    parts = [
        "# Methods\n",
        "What `python -m benchmarks.methods` prints. Costs are a step over LoRA's: in the paper on Llama-2-7B (Table "
        "A16 of arXiv 2508.19564), here on `pocket-llama` and two CPU cores "
        "(`benchmarks/results/step-cost-methods.json`).\n",
        table(head, rows),
        *(_method(name, cls, measured.get(name, "-")) for name, cls in METHODS.items()),
    ]
    return "\n".join(parts)


def _published(cls: type[Method]) -> str:
    return "-" if cls.published_cost is None else f"{cls.published_cost:.2f}"


def _method(name: str, cls: type[Method], measured: str) -> str:
    quantised = "yes" if cls.refused_on_quantised is None else f"no: {cls.refused_on_quantised}"
    facts = {
        "rule": cls.summary,
        "perturbs": cls.perturbs,
        "radius": cls.radius_convention,
        "gradients a step": cls.cost_rule,
        "memory beyond LoRA": cls.memory_rule,
        "4-bit base": quantised,
        "cost in the paper, here": f"{_published(cls)}, {measured}",
        "source": cls.source,
    }
    return f"(method-{name})=\n## {name}\n\n" + table(("", ""), facts.items()) + "\n" + _options(cls.options_class)


def _options(options: type) -> str:
    rows = [
        (f"`{entry.name}`", "none" if entry.default is None else f"`{entry.default}`", entry.metadata["help"])
        for entry in fields(options)
    ]
    return table(("option", "default", "meaning"), rows) if rows else "No options.\n"


def variants_page() -> str:
    """Return the page of adapter variants."""
    parts = [
        "# Adapter variants\n",
        "Every method runs on each of them, written `VARIANT+METHOD`. What makes no sense is refused, with reason.\n",
        *(_variant(name, cls) for name, cls in VARIANTS.items()),
    ]
    return "\n".join(parts)


def _variant(name: str, cls: type[AdapterVariant]) -> str:
    facts = {"what it is": cls.summary, "source": cls.source}
    return f"## {name}\n\n" + table(("", ""), facts.items()) + "\n" + _options(cls.options_class)


def tasks_page() -> str:
    """Return the page of tasks: those that ship, and those on published data."""
    shipped = [(f"`{name}`", _what(cls), cls.metric, f"`{cls.base}`", _recipe(cls)) for name, cls in TASKS.items()]
    published = [(f"`{name}`", _what(cls), cls.metric, _recipe(cls)) for name, cls in DATA_TASKS.items()]
    parts = [
        "# Tasks\n",
        "## Tasks that ship\n",
        table(("task", "what", "metric", "base", "recipe"), shipped),
        "## Tasks on published data\n",
        "From the hub, or from files by `--data FOLDER`. `jsonl:FILE` and `dreambooth:FOLDER` are your own data.\n",
        table(("task", "what", "metric", "recipe"), published),
    ]
    return "\n".join(parts)


def _what(cls: type[Task]) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _recipe(cls: type[Task]) -> str:
    recipe = cls.recipe
    length = f"{recipe.epochs} epochs" if recipe.epochs else f"{recipe.steps} steps"
    return f"{length}, batch {recipe.batch_size}, rate {recipe.learning_rate:g}"


def presets_page() -> str:
    """Return the page of the paper's experiments."""
    parts = [
        "# Presets\n",
        "Every experiment of the Bi-LoRA paper as settings of a comparison. `python -m benchmarks.compare --preset "
        "NAME --dry-run` prints its plan without weights and data; flags override a preset.\n",
        *(_preset(find_preset(name)) for name in canonical_names()),
    ]
    return "\n".join(parts)


def _preset(preset: Preset) -> str:
    lines = [f"## {preset.name}\n", f"{preset.description} ({', '.join(preset.source)})\n"]
    if preset.also:
        lines.append(f"Also called {', '.join(f'`{name}`' for name in preset.also)}.\n")
    for part in preset.parts:
        if part.name:
            lines.append(f"Part `{part.name}`:\n")
        values = {name: as_plain(value) for name, value in part.values.items()}
        lines.append("```yaml\n" + yaml.safe_dump(values, sort_keys=False, width=100).rstrip() + "\n```\n")
    choices = [(f"`{name}`", reason) for name, reason in preset.our_choice.items()]
    lines.append(table(("what the paper leaves open", "our choice, and why"), choices))
    return "\n".join(lines)


def write_pages(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"methods": methods_page, "variants": variants_page, "tasks": tasks_page, "presets": presets_page}
    for name, page in pages.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")
