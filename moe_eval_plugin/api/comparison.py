"""Compare two runs over the same questions, or each setting of a sweep with its baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.api.python_names import python_names
from moe_eval_plugin.api.runs import MARGIN, Sweep
from moe_eval_plugin.api.setting import Setting
from moe_eval_plugin.api.table import Table, make_table
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.publish.bundle.finished import read_finished
from moe_eval_plugin.results.compare.compare import Options, compare_runs
from moe_eval_plugin.results.compare.comparison import Comparison
from moe_eval_plugin.results.compare.sweep import SweepComparison, SweepRun, compare_sweep
from moe_eval_plugin.results.compare.sweep_text import render_sweep
from moe_eval_plugin.results.compare.text import change_text, render, score_text
from moe_eval_plugin.results.files import find_run, read_run
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.text import HUNDRED, setting_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    import pandas as pd

    from moe_eval_plugin.api.table import Value
    from moe_eval_plugin.results.compare.comparison import Change, ScoreComparison, TaskComparison
    from moe_eval_plugin.results.run import Run

    Comparable: TypeAlias = "str | Path | Setting | Sweep"


def compare(
    a: Comparable,
    b: Comparable | None = None,
    *,
    task: str | None = None,
    metric: str | Sequence[str] = (),
    within: float = MARGIN,
    common: bool = False,
) -> ComparedRuns:
    """Compare run ``b`` with run ``a`` over the same questions.

    A run is a setting of a sweep (``sweep[8]``), a results file, or a folder with one results file.
    Without ``b``, ``a`` is a sweep, and each setting is compared with the published k. The other
    arguments are the options of ``moe-eval compare``::

        moe.compare(sweep[8], sweep[4]).table
        moe.compare("runs/hf", "runs/vllm", within=0.5)

    Raises ``DataError`` for runs that cannot be compared. Raises ``InvalidArgumentError`` for a
    single run, and for a metric that a run does not have.
    """
    names = {"settings", "task", "metric", "within", "common"}
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    options = Options(metrics=metrics, common=common, margin=within / HUNDRED)
    with python_names(names):
        if b is None:
            return ComparedRuns(compare_settings(_path(a), options, task=task))
        return ComparedRuns(compare_runs(_run(a), _run(b), task, options))


def compare_settings(
    folder: Path, options: Options, *, task: str | None = None, settings: Sequence[str] = ()
) -> SweepComparison:
    """Compare each setting of a sweep, or those that are named, with the baseline of its seed.

    Raises ``InvalidArgumentError`` for a single run, and what ``compare_sweep`` raises.
    """
    finished = read_finished(folder)
    if finished.manifest is None:
        message = (
            f"{folder} is a single run. Pass a second one to compare it with, or the folder of a "
            "sweep."
        )
        raise InvalidArgumentError(message)
    runs = [SweepRun(one.name, one.run, one.seed, one.is_baseline) for one in finished.points]
    return compare_sweep(str(folder), runs, settings, task, options)


class ComparedRuns:
    """The comparison of two runs, or of each setting of a sweep with the published k."""

    def __init__(self, comparison: Comparison | SweepComparison) -> None:
        self.comparison = comparison
        """The whole comparison, as in ``moe-eval compare --json``."""

    @property
    def tasks(self) -> list[tuple[str, TaskComparison]]:
        """Each compared task, with the name of its setting; for two runs the name is empty."""
        if isinstance(self.comparison, Comparison):
            return [("", task) for task in self.comparison.tasks]
        return self.comparison.tasks

    @property
    def changes(self) -> list[Change]:
        """The questions whose answer or score differs."""
        return [change for _, task in self.tasks for change in task.changes]

    @property
    def table(self) -> Table:
        """A row for each score of each task. Differences are the score of B minus that of A."""
        named = isinstance(self.comparison, SweepComparison)
        heads = [("setting", "Setting"), ("kind", "Kind")] if named else []
        heads += [("price", "Experts")] if named else []
        heads += [
            *(("task", "Task"), ("score", "Score"), ("a", "A"), ("b", "B")),
            *(("difference", "B - A"), ("difference_low", "from"), ("difference_high", "to")),
            *(("p_value", "p"), ("equal_answers", "Equal answers"), ("verdict", "Verdict")),
            ("speed_up", "Speed-up"),
        ]
        rows = [
            [*(_setting_cells(name, task) if named else []), *_cells(task, score)]
            for name, task in self.tasks
            for score in task.scores
        ]
        return make_table(heads, rows)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame; raises ``MissingDependencyError`` without pandas."""
        return self.table.to_pandas()

    def __repr__(self) -> str:
        if isinstance(self.comparison, Comparison):
            return render(self.comparison)
        return render_sweep(self.comparison)

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        return self.table._repr_html_()


def _setting_cells(name: str, task: TaskComparison) -> Iterator[tuple[Value, str]]:
    """Yield the name of a setting, its kind, and its observed experts per token and layer."""
    kind, price = task.kinds[1], task.prices[1]
    yield name, setting_label(name)
    yield kind, kind or "-"
    yield price, "-" if price is None else f"{price:.2f}"


def _cells(task: TaskComparison, score: ScoreComparison) -> Iterator[tuple[Value, str]]:
    one = score.difference
    yield task.task, task.task
    yield score.metric, score.metric
    for value in (one.baseline_value, one.value):
        yield value, score_text(score, value)
    yield one.difference, change_text(score, one.difference)
    for end in (one.interval.low, one.interval.high):
        yield end, change_text(score, end)
    yield one.p_value, f"{one.p_value:.4f}"
    equal = task.equal_answers
    yield equal, "-" if equal is None else f"{equal:.2%}"
    yield score.verdict, score.verdict or "-"
    rates = task.speed.rates if task.speed else ()
    speed_up = rates[0].speed_up if rates else None
    yield (speed_up.ratio, speed_up.text) if speed_up else (None, "-")


def _path(one: Comparable) -> Path:
    if isinstance(one, Sweep):
        return one.path
    if isinstance(one, Setting):
        message = f"{one.label} is a single run. Pass a second one to compare it with, or a sweep."
        raise InvalidArgumentError(message)
    return Path(one)


def _run(one: Comparable) -> Run:
    if isinstance(one, Setting):
        if len(one.results) > 1:
            files = ", ".join(map(str, one.results))
            message = f"{one.label} has several runs, and one is needed. Pass one of: {files}"
            raise InvalidArgumentError(message)
        return read_run(one.results[0])
    path = _path(one)
    refuse_sweep(path)
    return find_run(path)


def refuse_sweep(path: Path) -> None:
    """Raise ``InvalidArgumentError`` for a whole sweep, where a run is needed."""
    manifest = load_manifest(path) if path.is_dir() else None
    if manifest is not None:
        names = ", ".join(manifest.entries)
        message = (
            f"{path} is a sweep of the settings {names}. Pass one of them, {path}/NAME, or the "
            "sweep alone, which compares them all with the published k."
        )
        raise InvalidArgumentError(message)
