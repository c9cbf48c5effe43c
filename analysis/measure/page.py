"""One self-contained HTML page of a measurement: a table for each space, and the figures, nothing from a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, select_autoescape

from analysis.measure.figures import all_figures, png

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flatness of {{ name }}</title>
<style>
:root { color-scheme: light dark; --line: #9994; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; } td, th { padding: .25rem .8rem; text-align: left;
border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
figure { margin: 1.5rem 0; } img { max-width: 100%; background: #fff; } .note { opacity: .8; font-size: .9rem; }
</style></head><body>
<h1>Flatness of {{ name }}</h1>
<p>Loss {{ '%.6g' % loss }} per scored token, on {{ examples }} examples of {{ data }}.</p>
{% for space in spaces %}
<h2>{{ space.name }}</h2><p class="note">{{ space.dimension }} dimensions</p>
<div class="scroll"><table><thead><tr><th>quantity</th><th>value</th><th>error</th><th>how</th></tr></thead><tbody>
{% for row in space.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% for part, message in space.problems %}<p><strong>{{ part }}</strong> was not measured: {{ message }}</p>{% endfor %}
{% endfor %}
{% for title, data in figures %}<figure><figcaption>{{ title }}</figcaption>
<img alt="{{ title }}" src="data:image/png;base64,{{ data }}"></figure>{% endfor %}
<h2>Conventions</h2><ul class="note">
<li>Radii are Frobenius norms ||dW|| of the change of the weight matrices, in every space.</li>
<li>The lora and auxiliary spaces are taken in the balanced gauge A A<sup>T</sup> = B<sup>T</sup> B of every layer,
since curvature in (A, B) depends on how a product is split.</li>
<li>Largest and smallest mean algebraic; an eigenvalue lies within its error of the value.</li>
<li>The loss is a mean over the scored tokens of all examples; other examples give other values.</li></ul>
</body></html>
"""


def write_page(content: Mapping[str, Any], folder: Path) -> Path:
    """Write index.html and figures/*.png of a record; returns the page's path."""
    figures = {stem: (title, png(figure)) for stem, (title, figure) in all_figures(content["spaces"]).items()}
    (folder / "figures").mkdir(exist_ok=True)
    for stem, (_, data) in figures.items():
        (folder / "figures" / f"{stem}.png").write_bytes(data)
    settings = content["settings"]
    names = list(dict.fromkeys([*content["spaces"], *content["problems"]]))
    html = (
        Environment(autoescape=select_autoescape(default_for_string=True))
        .from_string(_TEMPLATE)
        .render(
            name=settings["adapter"] or settings["model"],
            loss=content["loss"],
            examples=content["examples"],
            data=settings["data"],
            spaces=[
                {
                    "name": name,
                    "dimension": f"{content['spaces'][name]['dimension']:,}" if name in content["spaces"] else "?",
                    "rows": rows(content["spaces"].get(name, {})),
                    "problems": list(content["problems"].get(name, {}).items()),
                }
                for name in names
            ],
            figures=[(title, base64.b64encode(data).decode()) for title, data in figures.values()],
        )
    )
    path = folder / "index.html"
    path.write_text(html, encoding="utf-8")
    return path


def rows(values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the table of one space: quantity, value, error, how it was found."""
    table = []
    for end, word in (("top", "largest"), ("bottom", "smallest")):
        for index, pair in enumerate(values.get(end) or []):
            how = "converged" if pair["converged"] else "not converged"
            table.append((f"{word} eigenvalue {index + 1}", _g(pair["value"]), f"± {_g(pair['residual'])}", how))
    if "trace" in values:
        found = values["trace"]
        how = f"{found['method']}, {found['products']} products"
        table.append(("trace", _g(found["value"]), f"± {_g(found['standard_error'])}", how))
    for key, word in (("worst_case_one_step", "worst case, one step"), ("worst_case", "worst case")):
        for norm, found in (values.get(key) or {}).items():
            how = f"{norm} radius {_g(found['radius'])}, {found['steps']} steps"
            table.append((word, _g(found["increase"]), "", how))
    for norm, found in (values.get("average_case") or {}).items():
        how = f"{norm} radius {_g(found['radius'])}, {found['draws']} draws"
        table.append(("average case", _g(found["increase"]), f"± {_g(found['standard_error'])}", how))
    if "m_sharpness" in values:
        found = values["m_sharpness"]
        error = f"± {_g(found['increase']['standard_error'])}"
        table.append(
            ("m-sharpness", _g(found["increase"]["mean"]), error, f"{len(found['increase']['values'])} blocks")
        )
    if "gradient" in values:
        table.append(("gradient norm", _g(values["gradient"]["norm"]), "", "in the space's coordinates"))
    capture = values.get("capture")
    if capture and capture["ratio"] is not None:
        table.append(("worst case over full space's", _g(capture["ratio"]), "", "equal radius"))
    return table


def _g(value: float) -> str:
    return f"{value:.4g}"
