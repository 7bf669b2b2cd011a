"""The table at a glance: a row for each setting, with its verdict at every margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.analysis.verdicts import Verdict, verdict, verdict_text
from moe_eval_plugin.report.page.first_screen.verdict_card import score_text
from moe_eval_plugin.report.tables.column import number_text
from moe_eval_plugin.text import points_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.series import ReportPoint
    from moe_eval_plugin.stats import SpeedRatio

BAR_WIDTH = 64
# The longest bar is that of this speed-up at least, so that all of 1.02× is not a long one.
LEAST_LONGEST = 1.5
TONES = {
    Verdict.WITHIN: "within",
    Verdict.LOSES_MORE: "more",
    Verdict.TOO_FEW: "few",
    Verdict.NOTHING: "none",
}


@dataclass(frozen=True)
class Pill:
    """The verdict on a setting at one margin."""

    margin: str
    """The margin in points."""
    text: str
    """The verdict."""
    tone: str
    """Its class on the page."""


@dataclass(frozen=True)
class Bar:
    """A speed-up as a bar; all lengths are in pixels."""

    length: float
    """Its length."""
    low: float
    """Where the 95% interval begins."""
    high: float
    """Where it ends."""
    one: float
    """Length of a bar of 1×."""
    is_slower: bool
    """Whether the speed-up is below 1."""


@dataclass(frozen=True)
class GlanceRow:
    """What the table at a glance shows of a setting; no text is not known."""

    label: str
    """Name of the setting."""
    pills: tuple[Pill, ...]
    """Its verdict at each margin."""
    accuracy: str
    """Its accuracy."""
    change: str
    """Change in accuracy, in points."""
    interval: str
    """95% interval of the change."""
    speed_up: str
    """Speed divided by that of the published k."""
    speed_up_interval: str
    """95% interval of the speed-up."""
    bar: Bar | None
    """The speed-up as a bar."""
    rate: str
    """Questions per second."""
    kind: str = ""
    """What it is, where it is no uniform k; of a searched one how many were tried."""

    @property
    def recommended_at(self) -> tuple[str, ...]:
        """The margins at which it is recommended."""
        return tuple(pill.margin for pill in self.pills if pill.tone == "best")


def glance_rows(by_margin: Mapping[str, SeriesStatistics]) -> list[GlanceRow]:
    """Return the rows of a series, whose statistics are given at each margin."""
    numbers = next(iter(by_margin.values()))
    longest = max([LEAST_LONGEST, *_ends(numbers.points)])
    return [
        _row(numbers, one, tuple(_pills(by_margin, number)), longest)
        for number, one in enumerate(numbers.points)
    ]


def _row(
    numbers: SeriesStatistics, one: PointStatistics, pills: tuple[Pill, ...], longest: float
) -> GlanceRow:
    change = interval = ""
    if one.difference is not None:
        found, scale = one.difference, numbers.scale
        change = points_text(found.difference * scale, sign=True)
        ends = (found.interval.low, found.interval.high)
        interval = " to ".join(points_text(end * scale, sign=True) for end in ends)
    ratio = one.speed_up
    return GlanceRow(
        label=one.point.label,
        pills=pills,
        accuracy=score_text(numbers, one.accuracy),
        change=change,
        interval=interval,
        speed_up=f"{ratio.ratio:.2f}×" if ratio else "",
        speed_up_interval=_interval_text(one, ratio) if ratio else "",
        bar=_bar(ratio, longest) if ratio else None,
        rate=number_text(one.samples_per_s) if one.samples_per_s is not None else "",
        kind=_kind(one.point),
    )


def _kind(point: ReportPoint) -> str:
    if point.kind is SettingKind.UNIFORM:
        return ""
    tuning = point.tuning
    return f"{point.kind.value}, {tuning.n_tried:,} tried" if tuning else point.kind.value


def _pills(by_margin: Mapping[str, SeriesStatistics], number: int) -> Iterator[Pill]:
    for margin, numbers in by_margin.items():
        one = numbers.points[number]
        found = verdict(numbers, one)
        if one.point.is_baseline:
            yield Pill(margin, "published", "none")
        elif one.point.label == numbers.recommended:
            yield Pill(margin, "recommended", "best")
        elif found is None:
            yield Pill(margin, "not compared", "none")
        else:
            yield Pill(margin, verdict_text(numbers, one) or "", TONES[found])


def _interval_text(one: PointStatistics, ratio: SpeedRatio) -> str:
    if one.point.is_baseline:
        return "the published k"
    if ratio.interval is None:
        return "timed once: no interval"
    return f"95% interval {ratio.interval.low:.2f} to {ratio.interval.high:.2f}"


def _bar(ratio: SpeedRatio, longest: float) -> Bar:
    interval = ratio.interval

    def pixels(value: float) -> float:
        return round(min(value / longest, 1.0) * BAR_WIDTH, 1)

    return Bar(
        length=pixels(ratio.ratio),
        low=pixels(interval.low if interval else ratio.ratio),
        high=pixels(interval.high if interval else ratio.ratio),
        one=pixels(1.0),
        is_slower=ratio.ratio < 1,
    )


def _ends(points: Sequence[PointStatistics]) -> Iterator[float]:
    """Yield what the bars must reach; an interval far longer than its bar is cut."""
    for one in points:
        if one.speed_up is not None:
            high = one.speed_up.interval.high if one.speed_up.interval else 0.0
            yield max(one.speed_up.ratio, min(high, 1.3 * one.speed_up.ratio))
