"""The overview of several series: what distinguishes them, and what to use of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.page.first_screen.margins import at_each, margin_names
from moe_eval_plugin.report.tables.key_table import key_table
from moe_eval_plugin.text import points_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics


@dataclass(frozen=True)
class Choice:
    """What to use of a series at one margin."""

    margin: str
    """Largest loss that is accepted, in points."""
    headline: str
    """The recommended setting, or that there is none."""
    detail: str
    """What it loses and gains; or else why there is none."""
    is_recommended: bool
    """Whether a setting is recommended."""


@dataclass(frozen=True)
class MatrixRow:
    """A model, or a kind of runs."""

    name: str
    """Its letter, or its name."""
    facts: tuple[str, ...]
    """What distinguishes it from the others, by the headings of the matrix."""
    choices: tuple[tuple[Choice, ...], ...]
    """For each task what to use at each margin; empty where it was not run on the task."""


@dataclass(frozen=True)
class Matrix:
    """What to use of each series, by task."""

    headings: tuple[str, ...]
    """What distinguishes the rows."""
    tasks: tuple[str, ...]
    """The tasks."""
    rows: tuple[MatrixRow, ...]
    """A row for each model or kind of runs."""


def matrix(found: Sequence[SeriesStatistics]) -> Matrix | None:
    """Return the overview of several series; ``None`` for a single one."""
    if len(found) == 1:
        return None
    margins = margin_names(found[0].margin * found[0].scale)
    tasks = tuple(dict.fromkeys(one.series.task for one in found))
    names = tuple(dict.fromkeys(one.series.short for one in found))
    key = key_table(found)
    facts = {row[0]: row[1:] for row in key[1:]}
    series = {(one.series.short, one.series.task): one for one in found}
    return Matrix(
        headings=key[0][1:] if key else (),
        tasks=tasks,
        rows=tuple(
            MatrixRow(
                name=name,
                facts=facts.get(name, ()),
                choices=tuple(_choices(series.get((name, task)), margins) for task in tasks),
            )
            for name in names
        ),
    )


def _choices(numbers: SeriesStatistics | None, margins: Sequence[str]) -> tuple[Choice, ...]:
    """Return what to use at each margin."""
    if numbers is None:
        return ()
    return tuple(_choice(margin, at) for margin, at in at_each(numbers, margins).items())


def _choice(margin: str, numbers: SeriesStatistics) -> Choice:
    found = answer(numbers)
    if found.recommended is None:
        return Choice(margin, found.headline, found.reason, is_recommended=False)
    loss = "" if found.loss_points is None else points_text(-found.loss_points, sign=True)
    speed_up = found.speed_up.text if found.speed_up else ""
    return Choice(margin, found.recommended, f"{loss} points, {speed_up}", is_recommended=True)
