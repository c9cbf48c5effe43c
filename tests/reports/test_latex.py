"""LaTeX tables: escaped, balanced, as wide as they say, and compiled where a TeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.latex import escape_latex, latex_table
from reports.layout import Cell, Column, Group, Line, Table, hole
from reports.sections import build_section, build_summary
from reports.store import load_store

MakeStore = Callable[..., Path]
NASTY = '50 % of $x_1$ & {a}~b^2 #3 <c> \\input{secrets} | "q" 漢'


def table(text: str = "LoRA") -> Table:
    return Table(
        name="t",
        caption=text,
        columns=(Column(title=text, unit="%", definition=""), Column(title="λ max", unit="", definition="")),
        groups=(
            Group(
                title=text,
                lines=(
                    Line(
                        method="lora",
                        label=text,
                        cells=(Cell(text="71.0", detail="± 0.5", mark="best"), Cell(text="−1", mark="tied")),
                    ),
                    Line(method="bilora", label="Bi-LoRA", cells=(hole(text), Cell(text="2×10⁻⁴"))),
                ),
            ),
        ),
        notes=(text,),
    )


def check(text: str) -> None:
    """Check what a compiler would refuse: environments, braces, math and the number of columns."""
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}$&%#_]", "", code)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#%~]|[^\x00-\u017f]", bare)
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    for row in (line for line in code.splitlines() if line.endswith(r"\\")):
        if "multicolumn" not in row:
            assert len(re.split(r"(?<!\\)&", row)) == len(columns[1])


def test_special_letters_are_escaped() -> None:
    assert escape_latex("50 %_&#") == r"50 \%\_\&\#"
    assert escape_latex("\\x{y}$^~") == r"\textbackslash{}x\{y\}\$\textasciicircum{}\textasciitilde{}"
    assert escape_latex("10⁻⁴ − λ\nö 漢") == r"10$^{-}$$^{4}$ $-$ $\lambda$ ö ?"


def test_marks_holes_and_details_are_set() -> None:
    text = latex_table(table())
    assert r"\textbf{71.0} {\scriptsize $\pm$ 0.5} & \underline{$-$1} \\" in text
    assert "% LoRA\nBi-LoRA & --- & 2" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_data_cannot_become_commands() -> None:
    text = latex_table(table(NASTY))
    check(text)
    assert r"\input" not in text


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from tests.reports.conftest import write_store

    folder = write_store(tmp_path_factory.mktemp("tex"), tasks=("pocket-math", "pocket-code"), seeds=(0, 1), count=40)
    store = load_store(folder)
    sections = [build_section(store, task) for task in store.tasks]
    parts = (build_summary(store, sections), *sections)
    return [latex_table(found) for part in parts for found in part.tables] + [latex_table(table(NASTY))]


def test_every_table_of_a_report_is_sound(tables: list[str]) -> None:
    assert len(tables) > 5
    for text in tables:
        check(text)


def can_compile() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_compile(), reason="no LaTeX with booktabs here; the parser above checks the tables")
def test_every_table_compiles(tables: list[str], tmp_path: Path) -> None:
    head = "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs,amsmath}\n\\begin{document}\n"
    (tmp_path / "all.tex").write_text(head + "\\clearpage\n".join(tables) + "\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
