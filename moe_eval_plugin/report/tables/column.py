"""A column of a table and its cells: how a value is read and shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.text import HUNDRED, MINUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

Value: TypeAlias = "str | float | int | None"
Reader: TypeAlias = "Callable[[SeriesStatistics, PointStatistics], Value]"
Shown: TypeAlias = "Callable[[SeriesStatistics, PointStatistics], str]"
NOT_KNOWN = ""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str
    """Name in CSV, with the unit."""
    heading: str
    """Heading on the page and in Markdown."""
    meaning: str
    """What the values are."""
    read: Reader
    """Returns the value of a setting."""
    digits: int | None = None
    """Digits after the decimal point; ``None`` for three significant digits or more."""
    show: Shown | None = None
    """Returns the text of a cell that shows more than the value it is sorted by."""

    def cell(self, numbers: SeriesStatistics, one: PointStatistics) -> Cell:
        """Return the cell of a setting."""
        value = self.read(numbers, one)
        if self.show is not None and value is not None:
            return Cell(value, self.show(numbers, one))
        return Cell(value, self.text(value))

    def text(self, value: Value) -> str:
        """Return a value as text."""
        if value is None:
            return NOT_KNOWN
        if isinstance(value, str):
            return value
        return f"{value:,}" if isinstance(value, int) else number_text(value, self.digits)


@dataclass(frozen=True)
class Cell:
    """A value of the table, and its text."""

    value: Value
    text: str


def number_text(value: float, digits: int | None = None) -> str:
    """Return a number with ``digits`` after the point, or with three significant digits or more."""
    if digits is None:
        limits = ((1, 3), (10, 2), (HUNDRED, 1))
        digits = next((n for limit, n in limits if abs(value) < limit), 0)
    return f"{value:,.{digits}f}".replace("-", MINUS)
