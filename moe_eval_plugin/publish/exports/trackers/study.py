"""What goes to a tracker, whichever it is: a run for each setting, and the report of all."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import MissingDependencyError, UserError
from moe_eval_plugin.publish.exports.failures import faults_of, notes_on
from moe_eval_plugin.publish.exports.formats import common_folder
from moe_eval_plugin.publish.exports.paper import MARGIN_POINTS, statistics_of
from moe_eval_plugin.report.paper.caption import table_caption
from moe_eval_plugin.report.paper.markdown import as_markdown
from moe_eval_plugin.report.paper.table import make_paper_table
from moe_eval_plugin.report.tables.columns import COLUMNS
from moe_eval_plugin.report.tables.table import as_csv, make_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.results.run import Run

Setting: TypeAlias = "str | int | float"
PROJECT = "moe-eval"
REPORT = "report"
PAGE, TABLE, FULL_TABLE = "report.html", "table.md", "table.csv"
# Names of a package and of its extra.
EXTRAS = {"wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}


@dataclass(frozen=True)
class TrackedRun:
    """One setting of a model on a task."""

    name: str
    """Its name: the setting, and model and task where there are several."""
    config: dict[str, Setting]
    """What it was run with."""
    metrics: dict[str, float]
    """What was measured, by the names of the columns of ``table.csv``."""


@dataclass(frozen=True)
class Study:
    """Settings that belong together, such as those of a sweep."""

    group: str
    """Name of their folder."""
    runs: tuple[TrackedRun, ...]
    """The settings."""
    caption: str
    """What was measured, in two sentences."""
    files: dict[str, str]
    """Text of the table, as Markdown and as CSV, and of the page where it could be made."""
    notes: tuple[str, ...]
    """What the user should know."""


def study_of(runs: Sequence[Run], task: str | None, client: str) -> Study:
    """Return what a tracker gets of some runs.

    Raises ``MissingDependencyError`` if the package of its client is not installed, before
    anything is computed, and ``DataError`` for runs without scores.
    """
    if find_spec(client) is None:
        message = (
            f"--format {client} needs the package {client}, which this Python does not have. Run "
            f'`pip install "moe-eval-plugin[{EXTRAS[client]}]"`.'
        )
        raise MissingDependencyError(message)
    series = statistics_of(runs, task)
    paths = [run.path for run in runs]
    page, note = _page(paths, task)
    table = make_paper_table(series)
    several = table.has_several_models, table.has_several_tasks
    return Study(
        group=common_folder(paths).name,
        runs=tuple(_run(numbers, one, several) for numbers in series for one in numbers.points),
        caption=table_caption(series),
        files={TABLE: as_markdown(table), FULL_TABLE: as_csv(make_table(series)), **page},
        notes=(*note, *notes_on(runs, task, faults_of(runs, task))),
    )


def _page(paths: Sequence[Path], task: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the page of the report, or why there is none."""
    from moe_eval_plugin.report.build import Options, build

    try:
        options = Options(task=task, margin_points=MARGIN_POINTS)
        return {PAGE: build(paths, options).html}, ()
    except UserError as error:
        return {}, (f"The page of the report is not among the files: {error}",)


def _run(numbers: SeriesStatistics, one: PointStatistics, several: tuple[bool, bool]) -> TrackedRun:
    words = [numbers.series.name if several[0] else "", numbers.series.task if several[1] else ""]
    values = {column.key: column.read(numbers, one) for column in COLUMNS}
    return TrackedRun(
        name=", ".join([*filter(None, words), one.point.label]),
        config=_config(numbers, one),
        metrics={
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
    )


def _config(numbers: SeriesStatistics, one: PointStatistics) -> dict[str, Setting]:
    """Return what a setting was run with, as far as it is known; no folders of this machine."""
    run = one.point.first
    facts, machine = run.facts, run.setup.machine
    known: dict[str, Setting | None] = {
        "model": facts.model,
        "model_revision": facts.model_revision,
        "backend": facts.backend,
        "host": facts.host,
        "task": numbers.series.task,
        "metric": numbers.series.metric,
        "setting": one.point.label,
        "k": one.point.k,
        "published_k": facts.baseline_num_experts_per_tok,
        "experts_policy": facts.experts_policy,
        "renorm": facts.renorm,
        "batch_size": run.setup.batch_size,
        "dtype": run.setup.dtype,
        "machine": machine.name if machine else None,
        "data": facts.data_origin or facts.dataset,
        "scoring": facts.scoring,
        "date": facts.date.isoformat() if facts.date else None,
        **{f"version.{name}": version for name, version in facts.versions.items()},
    }
    return {name: value for name, value in known.items() if value is not None}
