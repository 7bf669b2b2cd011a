"""The tables: every number, or what answers the question; as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.columns import COLUMNS, SHORT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.columns import Cell, Column
    from moe_eval_plugin.report.numbers import SeriesNumbers


@dataclass(frozen=True)
class Table:
    """The columns in which anything is known, and a row for each point.

    ``numeric`` tells of each column whether it holds numbers.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """Tell of each column whether it holds numbers."""
        values = zip(*([cell.value for cell in row] for row in self.rows), strict=True)
        return [any(isinstance(value, int | float) for value in column) for column in values]


def make_table(series: Sequence[SeriesNumbers]) -> Table:
    """List every number of every point; columns without any are left out."""
    return _table(COLUMNS, series)


def make_short_table(series: Sequence[SeriesNumbers]) -> Table:
    """List what answers the question, in few columns; names that are all the same are left out."""
    table = _table(SHORT_COLUMNS, series)
    same = {
        column.key
        for column, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True)
        if column.key in ("model", "task") and len({cell.value for cell in cells}) == 1
    }
    kept = [number for number, column in enumerate(table.columns) if column.key not in same]
    return Table(
        tuple(table.columns[number] for number in kept),
        tuple(tuple(row[number] for number in kept) for row in table.rows),
    )


def _table(columns: Sequence[Column], series: Sequence[SeriesNumbers]) -> Table:
    rows = [
        [column.cell(numbers, one) for column in columns]
        for numbers in series
        for one in numbers.points
    ]
    known = [any(cell.value is not None for cell in cells) for cells in zip(*rows, strict=True)]
    return Table(
        tuple(column for column, keep in zip(columns, known, strict=True) if keep),
        tuple(tuple(cell for cell, keep in zip(row, known, strict=True) if keep) for row in rows),
    )


def as_csv(table: Table) -> str:
    """Write the table as CSV with unrounded numbers; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([[cell.value for cell in row] for row in table.rows])
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """Write a table as Markdown, as it is shown."""
    from pytablewriter import MarkdownTableWriter

    writer = MarkdownTableWriter(
        headers=[column.heading for column in table.columns],
        value_matrix=[[_escaped(cell.text) for cell in row] for row in table.rows],
        margin=1,
    )
    text: str = writer.dumps()
    return text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
