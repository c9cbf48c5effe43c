r"""Tables as LaTeX with booktabs: `\input` them in a paper that loads `booktabs` and `amsmath`.

Every text from data is escaped; symbols that a plain engine does not know are written as commands, and what is left
outside Latin text becomes a visible question mark rather than an error in somebody's build. The best of a column is
bold, what is not distinguishable from it underlined, a hole a dash whose reason stands in a comment.
"""

from __future__ import annotations

import unicodedata

from reports.layout import Cell, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "‖": r"$\Vert$",
    "—": "---",
    "–": "--",
    "’": "'",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "√": r"$\surd$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "ᵀ": r"$^{\top}$",
    "\N{NO-BREAK SPACE}": "~",
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it is, on one line."""
    return "".join(_letter(letter) for letter in " ".join(text.split()))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter in _RAISED:
        return f"$^{{{_RAISED[letter]}}}$"
    if letter in _LOWERED:
        return f"$_{{{_LOWERED[letter]}}}$"
    if letter.isascii():
        return letter if letter.isprintable() else "?"
    # Accented Latin letters are in every modern engine's default encoding; anything else may be in none.
    return letter if unicodedata.name(letter, "").startswith("LATIN") and ord(letter) < 0x180 else "?"


def latex_table(table: Table) -> str:
    r"""Return a `table` environment with the caption, the label `tab:NAME` and notes below."""
    width = len(table.columns) + 1
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        _row([escape_latex(table.head), *(escape_latex(column.title) for column in table.columns)]),
    ]
    if any(column.unit for column in table.columns):
        lines.append(_row(["", *(_small(column.unit) for column in table.columns)]))
    for group in table.groups:
        lines.append(r"\midrule")
        if group.title:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(group.title)}}}}} \\")
        for line in group.lines:
            lines += [f"% {escape_latex(cell.reason)}" for cell in line.cells if cell.reason]
            lines.append(_row([escape_latex(line.label), *(_cell(cell) for cell in line.cells)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip {{\footnotesize {escape_latex(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _row(entries: list[str]) -> str:
    return " & ".join(entries) + r" \\"


def _cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    if cell.mark:
        text = rf"\textbf{{{text}}}" if cell.mark == "best" else rf"\underline{{{text}}}"
    return f"{text} {_small(cell.detail)}" if cell.detail else text


def _small(text: str) -> str:
    return rf"{{\scriptsize {escape_latex(text)}}}" if text else ""
