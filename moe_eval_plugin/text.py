"""Text for people: aligned columns, wrapped lines, hints in messages, and units."""

from __future__ import annotations

import csv
import difflib
import io
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIB = 1024**2
GIB = 1024**3
# Points, and percent, of a score or a share from 0 to 1.
HUNDRED = 100
TERMINAL_WIDTH = 100
MINUS = "−"
GAP = "  "
FEW = 5
# Characters of another library's message that go into ours.
MOST_OF_AN_ERROR = 500
# A spreadsheet takes a cell that begins like this for a formula, and runs it.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def align(
    rows: Sequence[Sequence[str]], columns: str = "l", widths: Sequence[int] | None = None
) -> list[str]:
    """Return a line for each row, its cells padded to the widths of the columns.

    ``columns`` has a letter for each column, ``l`` for left and ``r`` for right; its last letter
    holds for all that follow, so ``lr`` is a name and then numbers. Without ``widths`` a column is
    as wide as its longest cell. Lines have no spaces at their end. All rows have the same length.
    """
    if widths is None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    letters = columns.ljust(len(widths), columns[-1])[: len(widths)]
    forms = [
        f"{{:{'<' if letter == 'l' else '>'}{width}}}"
        for letter, width in zip(letters, widths, strict=True)
    ]
    return [GAP.join(forms).format(*row).rstrip() for row in rows]


def wrap(text: str, width: int = TERMINAL_WIDTH) -> list[str]:
    """Return text in lines of at most ``width`` columns; words are never broken."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean NAME?`` with the known name that is most like it, or no text.

    It begins with a space, so that it can follow a sentence.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""


def setting_label(point: str) -> str:
    """Return the name of a sweep's point for people: ``k=8`` for ``k8``."""
    return re.sub(r"^k(?=\d)", "k=", point)


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line without its full stop, shortened if it is long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(text, MOST_OF_AN_ERROR, placeholder=" ...").rstrip(".")


def first_few(values: Sequence[object]) -> str:
    """List the first five values, for a message; ``...`` stands for the others."""
    shown = [*map(str, values[:FEW]), *["..."] * (len(values) > FEW)]
    return ", ".join(shown)


def counted(n: int, what: str) -> str:
    """Return a number with its noun: ``1 image``, ``9,673 questions``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def points_text(value: float, *, sign: bool = False) -> str:
    """Return points of a score with two digits, a real minus, and never a sign before zero."""
    shown = round(value, 2) + 0.0
    return (f"{shown:+.2f}" if sign and shown else f"{shown:.2f}").replace("-", MINUS)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV, with the line ends of RFC 4180; ``None`` is an empty cell.

    Text that a spreadsheet would run as a formula gets a quote before it.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


def _csv_cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def gib_text(n_bytes: int) -> str:
    """Return a number of bytes in GiB."""
    return f"{n_bytes / GIB:,.1f} GiB"
