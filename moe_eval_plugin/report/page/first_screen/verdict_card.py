"""The verdict on a series at one margin: the answer, with its accuracy, speed and experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.analysis.speed_scope import at_batch_size
from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.tables.column import number_text
from moe_eval_plugin.text import HUNDRED, points_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.answer.answer import Answer
    from moe_eval_plugin.stats import SpeedRatio

Tone = Literal["good", "settled", "open"]
POINT = 1.0


@dataclass(frozen=True)
class Fact:
    """One number of a card."""

    heading: str
    """What it is."""
    value: str
    """The number, large."""
    lines: tuple[str, ...]
    """What it is compared with, and its interval."""
    verified: bool = False
    """Whether a check mark follows the number."""


@dataclass(frozen=True)
class VerdictCard:
    """What a series answers at one margin."""

    margin: str
    """The margin in points."""
    tone: Tone
    """Whether a setting is recommended, the published k is kept, or nothing is certain."""
    headline: str
    """The answer in a few words."""
    reason: str
    """Why."""
    facts: tuple[Fact, ...]
    """Numbers of the recommended setting, of the closest to it, or of the published k."""


def verdict_card(margin: str, numbers: SeriesStatistics) -> VerdictCard:
    """Return the card of a series whose statistics were computed for this margin."""
    found = answer(numbers)
    tone: Tone = "good" if found.recommended else "settled" if found.certain else "open"
    facts = tuple(_facts(numbers, found))
    return VerdictCard(margin, tone, found.headline, found.reason, facts)


def score_text(numbers: SeriesStatistics, value: float) -> str:
    """Return a score as it is shown: in percent where it is a share."""
    return f"{value * numbers.scale:.2f}{'%' if numbers.scale == HUNDRED else ''}"


def _facts(numbers: SeriesStatistics, found: Answer) -> Iterator[Fact]:
    label = found.setting or found.baseline or numbers.points[0].point.label
    one = next(each for each in numbers.points if each.point.label == label)
    baseline = next((each for each in numbers.points if each.point.is_baseline), None)
    published = baseline if baseline is not one else None
    yield _accuracy(numbers, one, published)
    if one.samples_per_s is not None:
        yield _speed(numbers, one, published)
    if found.observed_k is not None and found.n_layers:
        is_uniform = one.point.kind is SettingKind.UNIFORM
        yield _experts(found.observed_k, found.n_layers, is_uniform=is_uniform)


def _accuracy(
    numbers: SeriesStatistics, one: PointStatistics, published: PointStatistics | None
) -> Fact:
    own, scale = score_text(numbers, one.accuracy), numbers.scale
    if one.difference is None or published is None:
        lines = [_name(one)]
        if one.interval is not None:
            low, high = (f"{end * scale:.2f}" for end in one.interval)
            lines.append(f"95% interval {low} to {high}")
        return Fact("Accuracy", own, tuple(lines))
    change, interval = one.difference.difference * scale, one.difference.interval
    unit = "point" if abs(round(change, 2)) == POINT else "points"
    low, high = (points_text(end * scale, sign=True) for end in (interval.low, interval.high))
    return Fact(
        "Accuracy",
        f"{points_text(change, sign=True)} {unit}",
        (
            f"{own} instead of {score_text(numbers, published.accuracy)}",
            f"95% interval {low} to {high}",
        ),
    )


def _speed(
    numbers: SeriesStatistics, one: PointStatistics, published: PointStatistics | None
) -> Fact:
    ratio, own = one.speed_up, number_text(one.samples_per_s or 0)
    heading = f"Speed{at_batch_size(numbers)}"
    if ratio is None or published is None or published.samples_per_s is None:
        return Fact(heading, own, (f"questions/s, {_name(one)}",))
    other = number_text(published.samples_per_s)
    return Fact(
        heading,
        f"{ratio.ratio:.2f}×",
        (f"{own} instead of {other} questions/s", _interval(ratio)),
    )


def _interval(ratio: SpeedRatio) -> str:
    if ratio.interval is None:
        return "timed once: no interval"
    return f"95% interval {ratio.interval.low:.2f} to {ratio.interval.high:.2f}"


def _experts(observed: float, n_layers: int, *, is_uniform: bool) -> Fact:
    exact = observed == round(observed) and is_uniform
    layers = f"in {n_layers} of {n_layers} MoE layers" if n_layers > 1 else "in the MoE layer"
    return Fact(
        "Experts observed",
        f"{observed:g}" if exact else f"{observed:.2f}",
        (f"{'every token' if exact else 'mean over tokens'}, {layers}", "counted before the run"),
        verified=True,
    )


def _name(one: PointStatistics) -> str:
    return f"{one.point.label}, published" if one.point.is_baseline else one.point.label
