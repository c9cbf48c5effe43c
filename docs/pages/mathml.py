"""Formulas as MathML, which browsers draw themselves: no script and no font is fetched."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mathml(tex: str, *, block: bool) -> str:
    """Return a formula as MathML, its bars and brackets as high as letters."""
    found: str = tex2mathml(tex, as_block=block)
    for fence in "‖|⟨⟩":
        found = found.replace(f"<mo>{fence}</mo>", f'<mo stretchy="false">{fence}</mo>')
    return found


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    # A theme gives formulas scroll bars; one that fits needs none.
    translator.body.append(f'<div style="overflow: hidden">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode
