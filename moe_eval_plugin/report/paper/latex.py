"""Write the table of a paper as LaTeX, with the package booktabs."""

from __future__ import annotations

import re
import unicodedata
from itertools import compress
from typing import TYPE_CHECKING

from moe_eval_plugin.report.paper.table import TIMED_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.paper.table import PaperRow, PaperTable, Quantity

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\symbol{96}",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "\u2013": r"\textendash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
LIGATURE = re.compile(r"([-'])(?=\1)")
RULED_OFF = "\\midrule"
ONCE_MARK = "a"


def as_latex(table: PaperTable, caption: str, label: str) -> str:
    r"""Return a ``table*`` with one row for each setting; ``caption`` and ``label`` are plain text.

    Models and tasks get a column where there are several, and a rule between them. The document
    needs ``\usepackage{booktabs}``, and nothing else.
    """
    head, rows = _columns(table)
    kept = [any(cells) for cells in zip(*rows, strict=True)]
    letters = "".join(compress("llllrrllllr"[: len(head)], kept))
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{{re.sub(r'[^A-Za-z0-9:-]+', '-', label)}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{letters}@{{}}}}",
        r"\toprule",
        _line(list(compress(head, kept))),
        RULED_OFF,
        *_body(table.rows, [_line(list(compress(row, kept))) for row in rows]),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is; what pdfLaTeX cannot print becomes a question mark.

    Letters with accents are printed without them.
    """
    found = "".join(_character(one) for one in " ".join(text.split()))
    # Two of them would be printed as one other character.
    return LIGATURE.sub(r"\1{}", found)


def _character(one: str) -> str:
    if one in SPECIAL:
        return SPECIAL[one]
    if one.isascii():
        return one if one.isprintable() else "?"
    plain = unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(each, each) for each in plain) or "?"


def _columns(table: PaperTable) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and the cells of each row, all of them LaTeX."""
    several = table.has_several_models, table.has_several_tasks
    head = [
        *("Model", "Task", "$k$", "Kind", _two_lines("r", "Observed", "$k$")),
        *(_two_lines("r", "Routed", "FLOPs"), escape(table.accuracy)),
        *("Change (points)", _two_lines("l", "Within", f"{escape(table.margin)}?")),
        *("Speed-up", _two_lines("r", "Questions", "per s")),
    ]
    rows = [
        [escape(row.model) if several[0] else "", escape(row.task) if several[1] else "", *cells]
        for row, cells in ((row, _cells(row)) for row in table.rows)
    ]
    return head, rows


def _cells(row: PaperRow) -> list[str]:
    k = escape(row.k)
    return [
        rf"\textbf{{{k}}}" if row.is_recommended else k,
        escape(row.kind),
        row.observed,
        escape(row.routed_flop_share),
        _quantity(row.accuracy),
        _quantity(row.change),
        row.is_within,
        _quantity(row.speed_up),
        escape(row.samples_per_s),
    ]


def _quantity(one: Quantity) -> str:
    value = escape(one.value)
    if one.is_timed_once:
        return rf"{value}\textsuperscript{{{ONCE_MARK}}}"
    if one.ends is None:
        return value
    low, high = map(escape, one.ends)
    return rf"{value} {{\scriptsize [{low}, {high}]}}"


def _two_lines(side: str, first: str, second: str) -> str:
    return rf"\shortstack[{side}]{{{first}\\{second}}}"


def _body(rows: Sequence[PaperRow], lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, with a rule wherever another model or task begins."""
    before = None
    for row, line in zip(rows, lines, strict=True):
        group = (row.model, row.task)
        if before not in (None, group):
            yield RULED_OFF
        before = group
        yield line


def _line(cells: Sequence[str]) -> str:
    # A bracket after the end of a row would be its optional argument.
    return " & ".join(cells) + r" \\"


def _notes(table: PaperTable) -> Iterator[str]:
    notes = []
    if table.published is not None:
        notes.append(f"$k={escape(table.published)}$ is the published one.")
    if table.has_recommended:
        notes.append(
            f"Bold: the fastest $k$ that is shown to lose at most {escape(table.margin)} and to be "
            "faster."
        )
    if table.has_unclear:
        notes.append("Unclear: too few questions to tell.")
    if table.has_timed_once:
        notes.append(rf"\textsuperscript{{{ONCE_MARK}}}{escape(TIMED_ONCE.capitalize())}.")
    if notes:
        yield rf"\par\smallskip{{\scriptsize {' '.join(notes)}}}"
