"""A column of a table and its cells: how a value is read, and how it is written for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

Value: TypeAlias = "str | float | int | None"
Reader: TypeAlias = "Callable[[SeriesStatistics, PointStatistics], Value]"
NOT_KNOWN = "-"
SMALL_P = 0.001


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it means, how to read a value, and digits behind the point.

    ``key`` is its name in CSV, with the unit. ``digits`` of ``None`` shows three digits or more.
    ``show`` writes a value of its own, where a cell holds more than the number it is sorted by.
    """

    key: str
    heading: str
    meaning: str
    read: Reader
    digits: int | None = None
    show: Callable[[SeriesStatistics, PointStatistics], str] | None = None

    def cell(self, numbers: SeriesStatistics, one: PointStatistics) -> Cell:
        """Read the value of a point, and write it."""
        value = self.read(numbers, one)
        if self.show is not None and value is not None:
            return Cell(value, self.show(numbers, one))
        return Cell(value, self.text(value))

    def text(self, value: Value) -> str:
        """Write a value for people."""
        if value is None:
            return NOT_KNOWN
        if isinstance(value, str):
            return value
        if self.key.startswith("p_") and value < SMALL_P:
            return f"<{SMALL_P}"
        return f"{value:,}" if isinstance(value, int) else number_text(value, self.digits)


@dataclass(frozen=True)
class Cell:
    """A value of the table: as it is, and as it is shown."""

    value: Value
    text: str


def number_text(value: float, digits: int | None = None) -> str:
    """Write a number with so many digits behind the point, or with three digits or more."""
    if digits is None:
        limits = ((1, 3), (10, 2), (HUNDRED, 1))
        digits = next((n for limit, n in limits if abs(value) < limit), 0)
    return f"{value:,.{digits}f}"
