"""Text for people: aligned columns, wrapped lines, hints in messages, and units."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import re
import shlex
import shutil
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIB = 1024**2
GIB = 1024**3
# Points, and percent, of a score or a share from 0 to 1.
HUNDRED = 100
# The width where there is no terminal, and the limits of a line that people like to read.
USUAL_WIDTH = 80
LEAST_WIDTH, MOST_WIDTH = 40, 100
GAP = "  "
# Of the further lines of a command.
COMMAND_INDENT = 4
MINUS = "\N{MINUS SIGN}"
FEW = 5
# A smaller p-value is only said to be smaller.
SMALL_P = 0.001
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


def terminal_width() -> int:
    """Return the columns of the terminal, at most 100; 80 where there is no terminal.

    The variable ``COLUMNS`` is used if it is set.
    """
    columns = shutil.get_terminal_size((USUAL_WIDTH, 1)).columns
    return max(LEAST_WIDTH, min(MOST_WIDTH, columns))


def wrap(text: str, width: int | None = None, *, first: str = "", rest: str = "") -> list[str]:
    """Return text in lines of at most ``width`` columns, those of the terminal if not given.

    Words are never broken. The first line begins with ``first``, and the others with ``rest``.
    """
    return textwrap.wrap(
        text,
        terminal_width() if width is None else width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrap_command(command: str, *, first: str = "") -> list[str]:
    """Return a shell command in lines that are no wider than the terminal, and still one command.

    All lines but the last end with a backslash. No line is split within an argument.
    """
    words = [shlex.quote(word) for word in shlex.split(command)]
    lines = [first]
    for word in words:
        is_full = len(lines[-1]) + len(word) + len(" \\") > terminal_width()
        if is_full and lines[-1].strip():
            lines[-1] = f"{lines[-1].rstrip()} \\"
            lines.append(" " * (len(first) - len(first.lstrip()) + COMMAND_INDENT))
        lines[-1] += f"{word} "
    return [line.rstrip() for line in lines]


def labelled(rows: Iterable[tuple[str, str]], label_width: int | None = None) -> list[str]:
    """Return each text after its label, wrapped into lines that begin below its first word.

    Without ``label_width`` the labels are as wide as the longest, with a gap.
    """
    found = list(rows)
    if label_width is None:
        label_width = max((len(label) for label, _ in found), default=0) + len(GAP)
    indent = " " * label_width
    return [
        line.rstrip()
        for label, text in found
        for line in wrap(text, first=label.ljust(label_width), rest=indent) or [label]
    ]


def fit(rows: Sequence[Sequence[str]], columns: str = "l", spare: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table that is no wider than the terminal, if its words allow.

    ``columns`` are those of ``align``. The first row is the header. If the table is too wide, the
    columns of ``spare`` are left out, the first first, until it fits; if it still does not, text
    at the left of a column goes on in lines below, that of the widest column first.
    """
    letters = columns.ljust(len(rows[0]), columns[-1])
    kept = list(zip(letters, zip(*rows, strict=True), strict=True))
    for name in spare:
        if _excess([_width(cells) for _, cells in kept]) > 0:
            kept = [column for column in kept if column[1][0] != name]
    letters = "".join(letter for letter, _ in kept)
    widths = _narrowed(kept)
    lines = []
    for row in zip(*(cells for _, cells in kept), strict=True):
        parts = [
            wrap(cell, width) or [""] if letter == "l" else [cell]
            for letter, cell, width in zip(letters, row, widths, strict=True)
        ]
        lines += list(itertools.zip_longest(*parts, fillvalue=""))
    return align(lines, letters)


def _narrowed(columns: Sequence[tuple[str, Sequence[str]]]) -> list[int]:
    """Return widths with which the columns fit, none narrower than its longest word."""
    widths = [_width(cells) for _, cells in columns]
    least = [
        _width(" ".join(cells).split() or [""]) if letter == "l" else _width(cells)
        for letter, cells in columns
    ]
    for _ in range(_excess(widths)):
        room = [n for n, width in enumerate(widths) if width > least[n]]
        if not room:
            break
        widths[max(room, key=widths.__getitem__)] -= 1
    return widths


def _width(cells: Sequence[str]) -> int:
    return max(map(len, cells))


def _excess(widths: Sequence[int]) -> int:
    """Return by how many characters columns of these widths are wider than the terminal."""
    return sum(widths) + len(GAP) * (len(widths) - 1) - terminal_width()


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
    """Return points of a score with two digits, and never a sign before zero."""
    shown = round(value, 2) + 0.0
    return formatted(shown, "+.2f" if sign and shown else ".2f")


def p_value_text(value: float) -> str:
    """Return a p-value with three digits, as ``0.042`` or ``< 0.001``."""
    return f"< {SMALL_P}" if value < SMALL_P else f"{value:.3f}"


def formatted(value: float, form: str) -> str:
    """Return a number in a format, with a minus sign and not a hyphen."""
    return format(value, form).replace("-", MINUS)


def with_minus(text: str) -> str:
    """Return text whose negative numbers have a minus sign and not a hyphen."""
    return re.sub(r"(?<!\S)-(?=\d)", MINUS, text)


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


def as_text(value: object) -> str:
    """Return a value as text: mappings as ``name value`` pairs, nothing for ``None``."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_text(one)}".rstrip() for name, one in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
