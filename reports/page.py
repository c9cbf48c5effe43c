"""The HTML page and its Markdown twin, rendered from templates.

Everything that came from data is escaped: Jinja2's autoescape for HTML, and for Markdown a finaliser that disarms
markup in every expression. The page carries its style and figures inside, so it opens offline and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.drilldown import POINTS, run_data
from reports.figures.canvas import Drawing, inline_svg
from reports.layout import Cell, Table
from reports.quantities import moment, spoken
from reports.sections import RunDetail, Section, Summary
from reports.store import Store
from reports.style import DARK_PAPER, LIGHT_PAPER, method_label, method_style

_TEMPLATES = Path(__file__).parent / "templates"
#: Methods that a title names; more are counted.
_NAMED = 5
#: First part of a table's name -> the heading above it.
_TITLES = {
    "against": "What changed",
    "overview": "Methods by tasks",
    "aggregates": "Aggregates over tasks",
    "variants": "Adapter variants",
    "options": "Options",
    "cost": "Cost",
    "capture": "Capture",
    "comparison": "Comparison",
    "sharpness": "Curvature and sharpness",
    "published": "Published and measured",
    "tuning": "Search",
}
_SCRIPTS = (_TEMPLATES / "page.js", _TEMPLATES / "drill.js")


class MarkdownText(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def html_page(store: Store, summary: Summary, sections: Sequence[Section], details: Sequence[RunDetail]) -> str:
    """Return the self-contained page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["colour"] = lambda method: method_style(method).colour
    environment.filters["moment"] = moment
    environment.filters["svg"] = _svg
    environment.filters["position"] = _position
    script = "".join(path.read_text(encoding="utf-8") for path in _SCRIPTS)
    # The policy allows this one script by its hash, so that markup from data could not run even if it were not escaped.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("index.html.j2")
    return template.render(
        **_context(store, summary, sections),
        details=details,
        points=POINTS,
        # JSON without a letter that could begin markup, see `run_data`.
        run_data=Markup(run_data(details)),
        light=LIGHT_PAPER,
        dark=DARK_PAPER,
        script=Markup(script),
        script_hash=digest,
    )


def markdown_page(store: Store, summary: Summary, sections: Sequence[Section]) -> str:
    """Return the report as Markdown, with figures as links into `figures/`."""
    return _markdown().get_template("report.md.j2").render(**_context(store, summary, sections))


def markdown_table(table: Table) -> str:
    """Return one table as Markdown."""
    environment = _markdown()
    text = '{% from "table.md.j2" import table %}{{ table(content)|markdown }}'
    return environment.from_string(text).render(content=table).strip() + "\n"


def _markdown() -> Environment:
    # HTML escaping is off because the finaliser escapes every expression, for Markdown and HTML both.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        finalize=escape_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    environment.filters["code"] = _code
    environment.filters["cell"] = _markdown_cell
    # Drawing names are made of letters, digits, dots and hyphens, and must stay as they are inside a link.
    environment.filters["link"] = MarkdownText
    environment.filters["markdown"] = MarkdownText
    return environment


def escape_markdown(value: Any) -> str:
    """Disarm Markdown and HTML in one inline value; newlines become spaces."""
    if isinstance(value, MarkdownText):
        return value
    flat = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", flat).replace("&", "&amp;").replace("<", "&lt;")


def _context(store: Store, summary: Summary, sections: Sequence[Section]) -> dict[str, Any]:
    labels = [method_label(method) for method in store.methods]
    return {
        "store": store,
        "titles": _TITLES,
        "summary": summary,
        "sections": sections,
        "title": _title(labels, len(store.tasks)),
        "label": method_label,
        "models": sorted({str(run.spec["model"]) for run in store.runs if "model" in run.spec}),
    }


def _title(labels: list[str], tasks: int) -> str:
    if len(labels) > _NAMED:
        return f"{len(labels)} methods on {spoken(tasks, 'task')}"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _svg(drawing: Drawing) -> Markup:
    # The drawing library escaped the text inside; nothing else enters this string.
    return Markup(inline_svg(drawing))


def _position(value: float, reach: float) -> str:
    """Place a difference on a strip 200 units wide whose middle is zero."""
    return f"{100 + 100 * value / reach:.1f}"


def _code(value: str) -> MarkdownText:
    flat = " ".join(value.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    return MarkdownText(f"{fence}{flat}{fence}")


def _markdown_cell(cell: Cell) -> MarkdownText:
    text, detail = escape_markdown(cell.text), f" ({escape_markdown(cell.detail)})" if cell.detail else ""
    # Markdown has no underline: what is not distinguishable from the best is in italics.
    marker = {"best": "**", "tied": "*"}.get(cell.mark, "")
    return MarkdownText(f"{marker}{text}{marker}{detail}")
