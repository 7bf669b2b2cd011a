"""All numbers on the page: settings are columns, numbers are rows in groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.tables.column import NOT_KNOWN
from moe_eval_plugin.report.tables.table import make_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.tables.column import Cell, Column
    from moe_eval_plugin.report.tables.table import Table

LOW, HIGH = "_low", "_high"
PERCENT = "%"
SPEED = "Speed"
# Keys of the numbers of each group, in its order; all others are speeds.
GROUPS: dict[str, tuple[str, ...]] = {
    "Accuracy": (
        "score",
        "difference",
        "retention",
        "n_worse",
        "n_better",
        "score_yes_no",
        "score_number",
        "score_other",
        "n_questions",
        "n_images",
    ),
    "Test": ("equivalent", "n_questions_needed", "p_value", "p_value_holm", "test"),
    SPEED: (
        "samples_per_s",
        "speed_up",
        "predicted_speed_up",
        "speed_up_of_totals",
        "model_speed_up",
    ),
    "Memory and energy": ("peak_memory_gib", "joules_per_sample", "joules_per_correct_answer"),
    "Experts": (
        "kind",
        "observed_num_experts_per_tok",
        "price_share",
        "observed_num_ffn_experts_per_tok",
        "routed_flop_share",
        "n_tried",
        "measured_loss",
    ),
    "Run": (
        "remarks",
        "metric",
        "n_runs",
        "speed_of",
        "timed_batch_size",
        "n_timed_blocks",
        "wall_s",
    ),
}
# Words that are mostly the same at all settings, and not known of the published k.
ALIKE = ("test", "metric", "speed_of")
# They are headings of the table.
HEADINGS = ("model", "task", "setting")


@dataclass(frozen=True)
class NumbersRow:
    """A number of all settings of a series."""

    heading: str
    """What it is called."""
    meaning: str
    """What it is."""
    texts: tuple[str, ...]
    """Its value in each setting; a single one where all settings have the same words."""
    is_text: bool = False
    """Whether its values are words."""


@dataclass(frozen=True)
class NumbersTable:
    """All numbers of one series."""

    name: str
    """The series and its task."""
    settings: tuple[str, ...]
    """The settings."""
    groups: tuple[tuple[str, tuple[NumbersRow, ...]], ...]
    """The rows of each group that has any."""


def numbers_tables(found: Sequence[SeriesStatistics]) -> tuple[NumbersTable, ...]:
    """Return the numbers of each series."""
    several = len({one.series.task for one in found}) > 1
    return tuple(
        NumbersTable(
            name=f"{one.series.title}, {one.series.task}" if several else one.series.title,
            settings=tuple(point.point.label for point in one.points),
            groups=tuple(_groups(make_table([one]))),
        )
        for one in found
    )


def glossary(found: Sequence[SeriesStatistics]) -> tuple[Column, ...]:
    """Return what each number of the tables is; the ends of intervals need no words."""
    columns = make_table(found).columns
    return tuple(one for one in columns if not one.key.endswith((LOW, HIGH)))


def _groups(table: Table) -> Iterator[tuple[str, tuple[NumbersRow, ...]]]:
    """Yield the rows by group."""
    columns = {
        column.key: (column, cells)
        for column, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True)
        if column.key not in HEADINGS
    }
    named = {key for keys in GROUPS.values() for key in keys}
    ends = {f"{key}{end}" for key in columns for end in (LOW, HIGH)}
    for group, keys in GROUPS.items():
        others = [key for key in columns if key not in named | ends] if group == SPEED else []
        own = [key for key in (*keys, *others) if key in columns]
        rows = [row for key in own for row in _rows(key, columns)]
        if rows:
            yield group, tuple(rows)


def _rows(key: str, columns: dict[str, tuple[Column, tuple[Cell, ...]]]) -> Iterator[NumbersRow]:
    """Yield the row of a number, and that of its interval."""
    column, cells = columns[key]
    is_text = any(isinstance(cell.value, str) for cell in cells)
    yield NumbersRow(column.heading, column.meaning, _joined(key, cells), is_text)
    if f"{key}{LOW}" in columns and f"{key}{HIGH}" in columns:
        ends = zip(columns[f"{key}{LOW}"][1], columns[f"{key}{HIGH}"][1], strict=True)
        texts = tuple(
            f"{low.text.removesuffix(PERCENT)} to {high.text}" if low.text else NOT_KNOWN
            for low, high in ends
        )
        yield NumbersRow("95% interval", f"95% interval of: {column.heading}", texts)


def _joined(key: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the texts of cells; one for all settings, where it says the same of each."""
    texts = tuple(cell.text for cell in cells)
    different = set(texts) - {NOT_KNOWN}
    return tuple(different) if key in ALIKE and len(different) == 1 else texts
