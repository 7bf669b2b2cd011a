"""Build a report: read runs, compute statistics, draw charts, and fill in the page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.answer.over_checkpoints import over_checkpoints
from moe_eval_plugin.report.page.fill import page_text
from moe_eval_plugin.report.page.provenance import origin_of
from moe_eval_plugin.report.paper.copies import copies_of
from moe_eval_plugin.report.questions.changed import changed_questions
from moe_eval_plugin.report.read_series import read_series, sweep_at
from moe_eval_plugin.report.tables.checkpoints_table import (
    effects_table,
    full_checkpoints_table,
    parts_table,
)
from moe_eval_plugin.report.tables.equal_price_table import full_price_table
from moe_eval_plugin.report.tables.ffn_k_table import make_ffn_k_table
from moe_eval_plugin.report.tables.key_table import shared_questions
from moe_eval_plugin.report.tables.numbers_table import glossary, numbers_tables
from moe_eval_plugin.report.tables.table import (
    as_csv,
    as_markdown,
    make_full_type_table,
    make_short_table,
    make_table,
    make_type_tables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.answer.over_checkpoints import TaskOverCheckpoints
    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.report.charts.bench import Bench
    from moe_eval_plugin.report.page.schedules import SchedulesPart

PACKAGES = ("altair", "jinja2", "vl_convert")


@dataclass(frozen=True)
class Options:
    """What to show."""

    title: str | None = None
    """Title of the page; ``None`` for one made of models and tasks."""
    task: str | None = None
    """Task to show; ``None`` for all."""
    metric: str | None = None
    """Metric of the accuracy; ``None`` for the one that the task is compared by."""
    margin_points: float = 1.0
    """Margin of the equivalence test, in points of 100."""
    max_questions: int = 200
    """Changed questions to list for each setting and kind of change."""
    benches: Sequence[Path] = ()
    """Files of ``moe-eval bench --output`` to draw as well."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The user's names of series, by the letter that each has without them."""
    checkpoints: bool = False
    """Whether the models are checkpoints of one, whose effects are pooled."""
    folder: str | None = None
    """Name of the folder next to the page that the page links to; ``None`` for no links."""


@dataclass(frozen=True)
class Report:
    """The page, and what is written next to it."""

    html: str
    """The page."""
    tables: Mapping[str, bytes]
    """Tables as CSV and Markdown, by the names of their files."""
    figures: tuple[Figure, ...] = field(repr=False)
    """The charts of the page, in its order."""
    series: tuple[SeriesStatistics, ...] = field(repr=False)
    """The statistics of all series."""
    checkpoints: tuple[TaskOverCheckpoints, ...] = field(default=(), repr=False)
    """The effects over checkpoints, by task; empty unless they were asked for."""


def build(
    paths: Sequence[Path], options: Options, doing: Callable[[str], object] = lambda _: None
) -> Report:
    """Build a report of all runs at these paths; ``doing`` is called with each step.

    Raises ``MissingDependencyError`` without the extra ``report``, ``DataError`` for runs and
    benches that cannot be read, and ``InvalidArgumentError`` where it is not clear what to show.
    """
    check_packages()
    from moe_eval_plugin.report.charts.bench import read_bench
    from moe_eval_plugin.report.page.first_screen.matrix import matrix
    from moe_eval_plugin.report.page.first_screen.screen import first_screen
    from moe_eval_plugin.report.page.schedules import schedules_parts

    doing("reading the runs")
    benches = [read_bench(path) for path in options.benches]
    found = [
        compute(series, options.margin_points)
        for series in read_series(paths, options.task, options.metric, options.labels)
    ]
    pooled = over_checkpoints(found) if options.checkpoints else ()
    screen = first_screen(found)
    tasks = [_task_part(task) for task in by_task(found)]
    bench = _bench_figures(benches)
    schedules = schedules_parts(found)
    figures = _in_order(screen.figures, schedules, tasks, bench)
    doing("filling in the page")
    html = page_text(
        title=options.title or screen.title,
        screen=screen,
        tasks=tasks,
        schedules=schedules,
        matrix=matrix(found),
        shared=shared_questions(found),
        checkpoints=[(one, effects_table(one), parts_table(one)) for one in pooled],
        bench=bench,
        benches=[one.name for one in benches],
        figures=figures,
        numbers=numbers_tables(found),
        glossary=glossary(found),
        copies=copies_of(found),
        questions=changed_questions(found, options.max_questions),
        origins=[origin_of(one.series) for one in found],
        sweeps=[line for path in paths for line in _sweep_lines(path)],
        margin=found[0].margin_text,
        max_questions=options.max_questions,
        folder=options.folder,
    )
    return Report(html, _tables(found, pooled), tuple(figures), tuple(found), pooled)


def _bench_figures(benches: Sequence[Bench]) -> list[Figure]:
    from moe_eval_plugin.report.charts.bench import bench_figures

    several = len(benches) > 1
    return [
        figure
        for number, one in enumerate(benches)
        for figure in bench_figures(one, number, several=several)
    ]


def _in_order(
    first: Sequence[Figure],
    schedules: Sequence[SchedulesPart],
    tasks: Sequence[Mapping[str, Any]],
    bench: Sequence[Figure],
) -> list[Figure]:
    """List the charts in the order of the page."""
    return [
        *first,
        *(figure for part in schedules for figure in part.figures),
        *(figure for part in tasks for figure in part["over_k"]),
        *(figure for part in tasks for figure in part["type_figures"]),
        *(figure for part in tasks for figure in part["phases"]),
        *bench,
        *(figure for part in tasks for one in part["inside"] for figure in one.figures),
    ]


def _tables(
    found: Sequence[SeriesStatistics], pooled: Sequence[TaskOverCheckpoints]
) -> dict[str, bytes]:
    tables = {
        "table.csv": as_csv(make_table(found)).encode(),
        "table.md": as_markdown(make_short_table(found)).encode(),
    }
    types = make_full_type_table(found)
    if types.rows:
        tables["types.csv"] = as_csv(types).encode()
    prices = full_price_table(found)
    if prices.rows:
        tables["equal-price.csv"] = as_csv(prices).encode()
    if pooled:
        tables["checkpoints.csv"] = as_csv(full_checkpoints_table(pooled)).encode()
    return tables


def check_packages(what: str = "A report") -> None:
    """Raise ``MissingDependencyError`` without the packages that draw charts and fill in pages.

    ``what`` is what needs them, as the message says.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        message = (
            f"{what} needs {' and '.join(missing)}, which this Python does not have. Run "
            '`pip install "moe-eval-plugin[report]"`.'
        )
        raise MissingDependencyError(message)


def by_task(found: Sequence[SeriesStatistics]) -> list[list[SeriesStatistics]]:
    """Group the series by task and score."""
    groups: dict[tuple[str, str], list[SeriesStatistics]] = {}
    for one in found:
        groups.setdefault((one.series.task, one.series.metric), []).append(one)
    return list(groups.values())


def _task_part(task: Sequence[SeriesStatistics]) -> dict[str, Any]:
    """Return what the page shows of a task."""
    from moe_eval_plugin.report.charts.accuracy_and_speed import main_figures
    from moe_eval_plugin.report.charts.by_type import type_figures
    from moe_eval_plugin.report.charts.over_k import over_k_figures
    from moe_eval_plugin.report.charts.phases import phase_figures
    from moe_eval_plugin.report.charts.routing import routings

    name = task[0].series.task
    # Of a single series, the main chart shows more than accuracy against throughput does.
    over_k = [*(main_figures(task) if len(task) > 1 else ()), *over_k_figures(task)]
    inside = [replace(one, figures=tuple(_renamed(one.figures, name))) for one in routings(task)]
    return {
        "name": name,
        "metric": task[0].series.metric,
        "over_k": _renamed(over_k, name),
        "types": make_type_tables(task),
        "type_figures": _renamed(type_figures(task), name),
        "phases": _renamed(phase_figures(task), name),
        "inside": inside,
        "ffn_k": {one.series.title: make_ffn_k_table(one) for one in task},
    }


def _renamed(figures: Iterable[Figure], task: str) -> list[Figure]:
    return [replace(figure, name=f"{task}-{figure.name}") for figure in figures]


def _sweep_lines(path: Path) -> Iterator[str]:
    """Yield the command of a sweep, and the settings that are not done."""
    import shlex

    sweep = sweep_at(path)
    if sweep is None:
        return
    if sweep.command:
        yield f"Command of the sweep: {shlex.join(sweep.command)}"
    left = [f"{name} ({one.state})" for name, one in sweep.entries.items() if one.state != "done"]
    if left:
        yield f"Not done when this report was made: {', '.join(left)}."
    for text in sweep.warnings:
        yield f"Warning: {text}"
