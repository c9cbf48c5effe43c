"""Formulas become MathML without a script."""

from __future__ import annotations

import pytest

pytest.importorskip("sphinx")

from docs.pages.mathml import mathml


def test_a_formula_is_drawn_by_the_browser() -> None:
    found = mathml(r"\|E\|_F \le \rho", block=True)
    assert found.startswith('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">')
    assert found.count('<mo stretchy="false">‖</mo>') == 2


def test_an_unknown_command_stops_the_build() -> None:
    with pytest.raises(ValueError, match="Unknown LaTeX command"):
        mathml(r"\nosuchcommand", block=False)
