"""The table of a paper: one row for each k of each model and task, as text with its intervals.

Markdown and LaTeX are written from it, so that a page, a model card and a paper show one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.verdicts import Verdict, gains_more, verdict
from moe_eval_plugin.report.tables.column import number_text
from moe_eval_plugin.text import HUNDRED, points_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.stats import SpeedRatio

TIMED_ONCE = "timed once, so without an interval; supports no finding"


@dataclass(frozen=True)
class Quantity:
    """A number as text, with its 95% interval."""

    value: str
    """The number."""
    ends: tuple[str, str] | None = None
    """The ends of its interval; ``None`` where it has none."""
    is_timed_once: bool = False
    """Whether it is a speed-up of one measurement each, which has no interval."""


UNKNOWN = Quantity("")
SHORT_VERDICTS = {
    Verdict.WITHIN: "yes",
    Verdict.LOSES_MORE: "no",
    Verdict.TOO_FEW: "unclear",
    Verdict.NOTHING: "smoke test",
    None: "",
}


@dataclass(frozen=True)
class PaperRow:
    """A setting of a model on a task; text is empty where nothing is known."""

    model: str
    """The model, and what distinguishes its runs."""
    task: str
    """Name of the task."""
    k: str
    """Requested k, with policy and renormalisation where they are not the usual ones."""
    kind: str
    """Kind of the setting; empty where all of a series are a uniform k."""
    observed: str
    """Routed experts per token that were counted."""
    routed_flop_share: str
    """Share of a prompt's FLOPs in routed experts, in percent."""
    accuracy: Quantity
    """Score, in percent where it is a share."""
    change: Quantity
    """Difference to the published k on the same questions, in points."""
    verdict: str
    """What is shown of the change, with the margin."""
    is_within: str
    """The same as ``yes``, ``no``, or ``unclear`` with too few questions; empty if not compared."""
    speed_up: Quantity
    """Speed divided by that of the published k."""
    samples_per_s: str
    """Questions per second."""
    is_published: bool
    """Whether it is the model as published."""
    is_recommended: bool
    """Whether it is the fastest setting that is shown to stay within the margin."""


@dataclass(frozen=True)
class PaperTable:
    """The rows, and what holds for all of them."""

    rows: tuple[PaperRow, ...]
    """The rows, in the order of the report."""
    accuracy: str
    """Heading of the score."""
    margin: str
    """Largest loss that counts as none, with its unit; of each series where they differ."""

    @property
    def has_several_models(self) -> bool:
        """Whether rows are of several models."""
        return len({row.model for row in self.rows}) > 1

    @property
    def has_several_tasks(self) -> bool:
        """Whether rows are of several tasks."""
        return len({row.task for row in self.rows}) > 1

    @property
    def has_timed_once(self) -> bool:
        """Whether a speed-up has no interval because it was timed once."""
        return any(row.speed_up.is_timed_once for row in self.rows)

    @property
    def has_unclear(self) -> bool:
        """Whether too few questions were asked to tell of a setting whether it stays within."""
        return any(row.is_within == SHORT_VERDICTS[Verdict.TOO_FEW] for row in self.rows)

    @property
    def published(self) -> str | None:
        """The published k; ``None`` where it was not run, or differs between models."""
        found = {row.k for row in self.rows if row.is_published}
        return found.pop() if len(found) == 1 else None

    @property
    def has_recommended(self) -> bool:
        """Whether a setting is recommended."""
        return any(row.is_recommended for row in self.rows)


def make_paper_table(series: Sequence[SeriesStatistics]) -> PaperTable:
    """Return the rows of all settings of some series."""
    names = _task_names(series)
    rows = tuple(_row(numbers, one, names) for numbers in series for one in numbers.points)
    metrics = {"Accuracy (%)" if one.scale > 1 else one.series.metric for one in series}
    margins = dict.fromkeys(one.margin_text for one in series)
    heading = metrics.pop() if len(metrics) == 1 else "Score"
    return PaperTable(rows, heading, " or ".join(margins))


def verdict_text(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return what is shown of a setting, with the margin; empty where it was not compared."""
    found, margin = verdict(numbers, one), numbers.margin_text
    if found is Verdict.WITHIN:
        better = gains_more(numbers, one)
        return f"gains more than {margin}" if better else f"within {margin}"
    if found is Verdict.LOSES_MORE:
        return f"loses more than {margin}"
    if found is Verdict.TOO_FEW:
        return f"too few questions for {margin}"
    return "smoke test" if found is Verdict.NOTHING else ""


def _task_names(series: Sequence[SeriesStatistics]) -> dict[tuple[str, str], str]:
    """Return the name of each task and score: the score is named where a task has several."""
    keys = dict.fromkeys((one.series.task, one.series.metric) for one in series)
    tasks = [task for task, _ in keys]
    return {
        (task, metric): f"{task}, {metric}" if tasks.count(task) > 1 else task
        for task, metric in keys
    }


def _row(
    numbers: SeriesStatistics, one: PointStatistics, names: Mapping[tuple[str, str], str]
) -> PaperRow:
    observed, is_priced = one.point.price, bool(numbers.equal_price)
    rate, share = one.samples_per_s, one.routed_flop_share
    return PaperRow(
        model=numbers.series.name,
        task=names[numbers.series.task, numbers.series.metric],
        k=one.point.label.removeprefix("k="),
        kind=one.point.kind.value if is_priced else "",
        observed="" if observed is None else f"{observed:.4g}",
        routed_flop_share="" if share is None else f"{share * HUNDRED:.1f}%",
        accuracy=_accuracy(numbers, one),
        change=_change(numbers, one),
        verdict=verdict_text(numbers, one),
        is_within=SHORT_VERDICTS[verdict(numbers, one)],
        speed_up=_speed_up(one.speed_up, is_published=one.point.is_baseline),
        samples_per_s="" if rate is None else number_text(rate),
        is_published=one.point.is_baseline,
        is_recommended=one.point.label == numbers.recommended,
    )


def _accuracy(numbers: SeriesStatistics, one: PointStatistics) -> Quantity:
    low, high = one.interval or (None, None)
    ends = None if low is None or high is None else (low * numbers.scale, high * numbers.scale)
    return Quantity(
        f"{one.accuracy * numbers.scale:.2f}",
        ends and (f"{ends[0]:.2f}", f"{ends[1]:.2f}"),
    )


def _change(numbers: SeriesStatistics, one: PointStatistics) -> Quantity:
    found = one.difference
    if found is None:
        return UNKNOWN
    value, low, high = (
        points_text(each * numbers.scale, sign=True)
        for each in (found.difference, found.interval.low, found.interval.high)
    )
    return Quantity(value, (low, high))


def _speed_up(ratio: SpeedRatio | None, *, is_published: bool) -> Quantity:
    if ratio is None:
        return UNKNOWN
    if is_published:
        return Quantity("1")
    if ratio.interval is None:
        return Quantity(f"{ratio.ratio:.2f}", is_timed_once=True)
    return Quantity(
        f"{ratio.ratio:.2f}", (f"{ratio.interval.low:.2f}", f"{ratio.interval.high:.2f}")
    )
