"""Finished runs: their table, the setting to use, a chart, and a report."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.api.python_names import python_names
from moe_eval_plugin.api.setting import Setting, setting_of
from moe_eval_plugin.api.table import Table, TableColumn
from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.option_values import read_new_file
from moe_eval_plugin.report.analysis.statistics import at_margin, compute
from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.read_series import read_series, sweep_at
from moe_eval_plugin.report.tables.column import Cell
from moe_eval_plugin.report.tables.equal_price_table import full_price_table
from moe_eval_plugin.report.tables.table import make_short_table, make_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import altair as alt
    import pandas as pd

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.answer.answer import Answer
    from moe_eval_plugin.report.tables import table as tables

MARGIN = 1.0
CHART_WIDTH = 560


def load(path: str | Path, *, metric: str | None = None) -> Sweep:
    """Return a finished sweep, or one or several runs, from a folder or a results file.

    ``metric`` names the accuracy to show. The default is the metric that the task prefers. Settings
    that are not done are left out::

        sweep = moe.load("runs/sweep")
        sweep.recommend(within=1.0).headline  # 'Use k=4 instead of 8'

    Raises ``DataError`` if there are no results, and ``InvalidArgumentError`` if it is unclear
    which accuracy to show.
    """
    folder = Path(path).resolve()
    with python_names({"metric", "output"}):
        series = read_series([folder], metric=metric)
        return Sweep(folder, tuple(compute(one, MARGIN) for one in series), metric)


class Sweep:
    """The finished settings of a model on one or several tasks, with their statistics."""

    def __init__(
        self,
        path: Path,
        statistics: tuple[SeriesStatistics, ...],
        metric: str | None = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        """The folder, or the results file."""
        self.statistics = statistics
        """All numbers, task by task and model by model."""
        self.problems = problems
        """What failed while the sweep ran: a sentence for each."""
        self._metric = metric

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(dict.fromkeys(one.series.task for one in self.statistics))

    @property
    def unfinished(self) -> Mapping[str, str]:
        """Settings without results, each with the reason or ``pending``."""
        manifest = sweep_at(self.path)
        entries = manifest.entries if manifest else {}
        return {
            name: one.reason or one.state for name, one in entries.items() if one.state != "done"
        }

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting on every task, from the largest k to the smallest."""
        return tuple(
            setting_of(numbers, one) for numbers in self.statistics for one in numbers.points
        )

    @cached_property
    def table(self) -> Table:
        """A row for each setting and task; data frames and CSV have more columns."""
        shown, full = make_short_table(self.statistics), make_table(self.statistics)
        return Table(_columns(shown), all_columns=_columns(full))

    @cached_property
    def equal_price(self) -> Table:
        """A row for each schedule and policy, compared with the uniform k at the same price.

        The columns are those of ``equal-price.csv`` of the report. A table without rows has none.
        """
        return _columns_of_values(full_price_table(self.statistics))

    def to_pandas(self) -> pd.DataFrame:
        """Return all numbers as a data frame; raises ``MissingDependencyError`` without pandas."""
        return self.table.to_pandas()

    def recommend(self, within: float = MARGIN, task: str | None = None) -> Answer:
        """Return which setting to use if you accept a loss of ``within`` points of accuracy.

        This is the answer of the report, with its loss, speed-up and reason. Raises
        ``InvalidArgumentError`` for a margin that is not above 0, and if ``task`` is missing
        although there are several.
        """
        return answer(at_margin(self._one(task), _margin(within)))

    def plot(self, task: str | None = None) -> alt.LayerChart | alt.Chart:
        """Return the main chart of the report for a task, as an Altair chart.

        With several models or set-ups, the chart shows the accuracy of all against questions/s.
        Raises ``MissingDependencyError`` without the extra ``report``, and
        ``InvalidArgumentError`` if there is nothing to draw.
        """
        numbers = self._of_task(task)
        try:
            from moe_eval_plugin.report.charts.accuracy_and_speed import main_figures
            from moe_eval_plugin.report.charts.theme import paper_config
            from moe_eval_plugin.report.charts.trade_off.figure import main_chart
        except ImportError as error:
            message = (
                'A chart needs altair, which is not installed. Run `pip install "moe-eval-plugin'
                '[report]"`.'
            )
            raise MissingDependencyError(message) from error
        if len(numbers) == 1:
            margin = f"{MARGIN:g}"
            main = main_chart({margin: numbers[0]}, margin, "main")
            figure = main.figure if main else None
        else:
            figure = next(main_figures(numbers), None)
        if figure is None:
            message = f"{self.path} has nothing to draw: a chart needs two settings. Run another k."
            raise InvalidArgumentError(message)
        chart = figure.chart.properties(width=CHART_WIDTH, title=figure.title)
        chart.config = paper_config()
        return chart

    def report(
        self, path: str | Path = "report.html", *, within: float = MARGIN, force: bool = False
    ) -> Path:
        """Write the report, a page with a folder of charts and tables, and return its path.

        The arguments are options of ``moe-eval report``. An existing file that is not a report is
        overwritten only with ``force``, otherwise it raises ``InvalidArgumentError``. Raises
        ``MissingDependencyError`` without the extra ``report``.
        """
        from moe_eval_plugin.report.build import Options, build
        from moe_eval_plugin.report.write import check_output, write_report

        page = Path(path)
        options = Options(metric=self._metric, margin_points=_margin(within))
        with python_names({"force", "within"}):
            read_new_file("path", page)
            check_output(page, force=force)
            return write_report(build([self.path], options), page)[0]

    def __getitem__(self, which: int | str | tuple[int | str, str]) -> Setting:
        """Return a setting by its k or label: ``sweep[4]`` or ``sweep["8/image:2"]``.

        With several tasks, also name the task: ``sweep[4, "okvqa"]``. Raises ``KeyError``.
        """
        wanted, task = which if isinstance(which, tuple) else (which, None)
        label = str(wanted).removeprefix("k=")
        found = [
            one
            for one in self.settings
            if one.label.removeprefix("k=") == label and task in (None, one.task)
        ]
        if len(found) != 1:
            known = ", ".join(f"{one.label} on {one.task} ({one.model})" for one in self.settings)
            what = "no setting" if not found else f"{len(found)} settings"
            message = f"There are {what} {which!r}; the settings are: {known}"
            raise KeyError(message)
        return found[0]

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    def __repr__(self) -> str:
        return "\n".join([str(self._shown_path), repr(self.table), *self._sentences()])

    def _repr_html_(self) -> str:
        """Return the table and the recommendation as a notebook shows them."""
        from html import escape

        lines = "".join(f"<p>{escape(line)}</p>" for line in self._sentences())
        path = escape(str(self._shown_path))
        return f"<p><code>{path}</code></p>{self.table._repr_html_()}{lines}"

    @property
    def _shown_path(self) -> Path:
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path

    def _sentences(self) -> list[str]:
        """Return the answer on each task, and what failed."""
        several = len(self.statistics) > 1
        lines = [
            f"{one.task}, {one.series}: {one.sentence}" if several else one.sentence
            for one in map(answer, self.statistics)
        ]
        left = [f"{name}: {reason}" for name, reason in self.unfinished.items()]
        return [*lines, *(f"Not done: {line}" for line in left), *self.problems]

    def _of_task(self, task: str | None) -> list[SeriesStatistics]:
        """Return the series of a task; of the only one where none is named."""
        if task is None and len(self.tasks) > 1:
            message = f"{self.path} has several tasks. Name one, task=...: {', '.join(self.tasks)}."
            raise InvalidArgumentError(message)
        found = [one for one in self.statistics if task in (None, one.series.task)]
        if not found:
            message = f"task={task!r} is not in {self.path}. Use one of: {', '.join(self.tasks)}."
            raise InvalidArgumentError(message)
        return found

    def _one(self, task: str | None) -> SeriesStatistics:
        found = self._of_task(task)
        if len(found) > 1:
            names = "; ".join(one.series.name for one in found)
            message = (
                f"{self.path} has several models or set-ups ({names}), and each has an answer of "
                "its own. Load the folder of one of them."
            )
            raise InvalidArgumentError(message)
        return found[0]


def _columns(table: tables.Table) -> tuple[TableColumn, ...]:
    """Return the columns of a table of the report."""
    cells = list(zip(*table.rows, strict=True))
    return tuple(
        TableColumn(
            column.key,
            column.heading,
            tuple(cell.value for cell in of_column),
            tuple(cell.text for cell in of_column),
        )
        for column, of_column in zip(table.columns, cells, strict=True)
    )


def _columns_of_values(table: tables.Table) -> Table:
    """Return a table of the report whose cells have no text of their own."""
    texts = [[Cell(one.value, _text(one.value)) for one in row] for row in table.rows]
    return Table(_columns(replace(table, rows=tuple(map(tuple, texts)))))


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _margin(within: Any) -> float:  # noqa: ANN401  (whatever a program passes)
    if not isinstance(within, int | float) or not 0 < within < math.inf:
        message = f"within={within} is not possible. Use a number of points above 0."
        raise InvalidArgumentError(message)
    return float(within)
