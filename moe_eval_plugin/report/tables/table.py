"""Build the tables of a report, in full and in short; as CSV and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.report.tables.column import Cell
from moe_eval_plugin.report.tables.columns import COLUMNS
from moe_eval_plugin.report.tables.layouts import (
    SHORT_TYPE_COLUMNS,
    TYPE_COLUMNS,
    TYPES,
    short_columns,
)
from moe_eval_plugin.report.tables.ratio_columns import columns_of_other_sizes
from moe_eval_plugin.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.tables.column import Column

Rows: TypeAlias = "list[tuple[SeriesStatistics, PointStatistics]]"


@dataclass(frozen=True)
class Table:
    """The columns in which anything is known, and a row for each setting."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers."""
        values = zip(*([cell.value for cell in row] for row in self.rows), strict=True)
        return [any(isinstance(value, int | float) for value in column) for column in values]


def make_table(series: Sequence[SeriesStatistics]) -> Table:
    """Return all numbers of all settings; columns without any are left out."""
    return _table((*COLUMNS, *columns_of_other_sizes(series)), _points(series))


def make_short_table(series: Sequence[SeriesStatistics]) -> Table:
    """Return a few columns of all settings; names that are all the same are left out."""
    return _without_same_names(_table(short_columns(series), _points(series)))


def make_type_tables(series: Sequence[SeriesStatistics]) -> dict[str, Table]:
    """Return the scores of a task by answer type and by question type, where there are several."""
    return {
        name: _without_same_names(_table(SHORT_TYPE_COLUMNS, rows))
        for name, rows in _by_types(series).items()
        if len({one.of_type for _, one in rows}) > 1
    }


def make_full_type_table(series: Sequence[SeriesStatistics]) -> Table:
    """Return all numbers of all types, with a column for the kind of type."""
    columns = (TYPES, *TYPE_COLUMNS)
    rows = tuple(
        (Cell(name, name), *row)
        for name, found in _by_types(series).items()
        for row in _every(TYPE_COLUMNS, found).rows
    )
    return Table(columns, rows)


def _points(series: Sequence[SeriesStatistics]) -> Rows:
    return [(numbers, one) for numbers in series for one in numbers.points]


def _by_types(series: Sequence[SeriesStatistics]) -> dict[str, Rows]:
    """Return the rows by answer type and by question type, in the order to show."""

    def rows(read: Callable[[PointStatistics], Mapping[str, PointStatistics]]) -> Rows:
        found = [
            (numbers, kind, one)
            for numbers in series
            for point in numbers.points
            for kind, one in read(point).items()
        ]
        order = list(dict.fromkeys(kind for _, kind, _ in found))
        found.sort(key=lambda row: order.index(row[1]))
        return [(numbers, one) for numbers, _, one in found]

    return {
        "answer type": rows(lambda point: point.by_type),
        "question type": rows(lambda point: point.by_question_type),
    }


def _without_same_names(table: Table) -> Table:
    """Return the table without model and task where all rows have the same."""
    same = {
        column.key
        for column, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True)
        if column.key in ("model", "task") and len({cell.value for cell in cells}) == 1
    }
    return _chosen(table, [column.key not in same for column in table.columns])


def _table(columns: Sequence[Column], rows: Rows) -> Table:
    """Return the rows without the columns in which nothing is known."""
    table = _every(columns, rows)
    known = [
        any(cell.value is not None for cell in cells) for cells in zip(*table.rows, strict=True)
    ]
    return _chosen(table, known)


def _every(columns: Sequence[Column], rows: Rows) -> Table:
    written = [tuple(column.cell(numbers, one) for column in columns) for numbers, one in rows]
    return Table(tuple(columns), tuple(written))


def _chosen(table: Table, kept: Sequence[bool]) -> Table:
    """Return the table with some of its columns."""
    return Table(
        tuple(compress(table.columns, kept)), tuple(tuple(compress(r, kept)) for r in table.rows)
    )


def as_csv(table: Table) -> str:
    """Return the table as CSV with unrounded numbers; what is not known is empty."""
    rows = [[column.key for column in table.columns]]
    return csv_text([*rows, *([cell.value for cell in row] for row in table.rows)])


def as_markdown(table: Table) -> str:
    """Return a table as Markdown, as it is shown."""
    from pytablewriter import MarkdownTableWriter

    writer = MarkdownTableWriter(
        headers=[column.heading for column in table.columns],
        value_matrix=[[_escaped(cell.text) for cell in row] for row in table.rows],
        dequote=False,
        margin=1,
    )
    text: str = writer.dumps()
    return text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
