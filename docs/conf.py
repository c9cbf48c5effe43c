"""Settings of Sphinx. `make docs` builds the site with them: offline, and every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs.pages import api, board, commands, examples, registries  # noqa: E402

project = "bilora"
author = "the bilora authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.pages.docstrings",
    "docs.pages.mathml",
]
exclude_patterns = ["_build", "pages"]

html_theme = "furo"
html_title = "bilora"
html_static_path: list[str] = []
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
# Docstrings put code into single backticks.
default_role = "code"

# Defaults as the source has them, not as objects print themselves.
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100


def setup(app: Any) -> None:
    """Write the generated pages before Sphinx looks for sources."""
    app.connect("builder-inited", _write_pages)


def _write_pages(_app: Any) -> None:
    reference = HERE / "reference"
    commands.write_pages(reference / "commands")
    api.write_pages(reference / "api")
    registries.write_pages(reference)
    board.write_page(reference)
    examples.write_pages(HERE / "examples")
