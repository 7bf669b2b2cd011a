"""What was found in a series, in a few sentences: losses, and the setting to recommend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.stats.equivalence import CANNOT_TELL, NO, YES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

SIGNIFICANT = 0.05
LEVEL = "5% level, Holm-corrected for the number of settings"


@dataclass(frozen=True)
class Finding:
    """A sentence, and what is shown when the pointer is on it."""

    text: str
    detail: str = ""


def findings(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield what the tests show; nothing is said of what they cannot show."""
    compared = [one for one in numbers.points if one.difference is not None]
    yield from _losses(numbers, compared)
    yield from _recommendation(numbers)
    knee = next((one for one in numbers.points if one.is_knee), None)
    if knee is not None:
        label = knee.point.label
        yield Finding(f"Below {label}, each further gain in speed costs much more accuracy.")
    yield from map(Finding, numbers.notes)


def _losses(numbers: SeriesStatistics, compared: Sequence[PointStatistics]) -> Iterator[Finding]:
    """Yield a sentence for each result of the tests, with the settings that have it."""
    margin = numbers.margin_text
    lower = [one for one in compared if _is_lower(one)]
    others = [one for one in compared if not _is_lower(one)]
    if lower:
        yield Finding(f"Loses accuracy: {_with_differences(numbers, lower)}.", LEVEL)
    beyond = [one for one in lower if _verdict(one) == NO]
    if beyond:
        yield Finding(f"Loses more than {margin}: {_labels(beyond)}.")
    equal = [one for one in others if _verdict(one) == YES]
    if equal:
        yield Finding(
            f"No loss found: {_with_differences(numbers, equal)}.",
            f"Within {margin} of the published k, by two one-sided tests at the 5% level",
        )
    gains = [one for one in others if _verdict(one) == NO]
    if gains:
        yield Finding(f"Gains more than {margin}: {_with_differences(numbers, gains)}.")
    open_ones = [one for one in others if _verdict(one) == CANNOT_TELL]
    if open_ones:
        needed = [one.equivalence.n_questions_needed for one in open_ones if one.equivalence]
        known = [n for n in needed if n]
        detail = f"About {max(known):,} questions would show it if nothing is lost" if known else ""
        text = f"Too few questions to tell: {_with_differences(numbers, open_ones)}."
        yield Finding(text, detail)


def _recommendation(numbers: SeriesStatistics) -> Iterator[Finding]:
    baseline, margin = numbers.series.baseline, numbers.margin_text
    if baseline is None or numbers.fastest is None or len(numbers.points) <= 1:
        return
    if numbers.fastest == baseline.label:
        yield Finding(f"No setting is faster than {baseline.label} and loses at most {margin}.")
        return
    chosen = next(one for one in numbers.points if one.point.label == numbers.fastest)
    speed = f"is {chosen.speed_up:.2f}× as fast as {baseline.label}" if chosen.speed_up else ""
    parts = [part for part in (speed, _change(numbers, chosen)) if part]
    if numbers.fastest_certain == numbers.fastest:
        text = f"Recommended: {chosen.point.label}. It {' and '.join(parts)}"
        yield Finding(f"{text}, which is less than the {margin} you allow.")
        return
    test = chosen.equivalence
    asked = f"{test.n_questions:,}" if test else "these"
    needed = test.n_questions_needed if test else None
    enough = f" (about {needed:,} would, if nothing is lost)" if needed else ""
    yield Finding(
        f"Fastest within {margin}: {chosen.point.label}. It {' and '.join(parts)}, but {asked} "
        f"questions cannot rule out a loss of more than {margin}{enough}."
    )


def _change(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return how much accuracy a setting loses or gains, with the interval."""
    if one.difference is None:
        return ""
    scale, interval = numbers.scale, one.difference.interval
    loss = -one.difference.difference * scale
    if loss >= 0:
        verb, ends = "loses", (-interval.high * scale, -interval.low * scale)
    else:
        verb, ends = "gains", (interval.low * scale, interval.high * scale)
    return f"{verb} {abs(loss):.2f} points (95% interval {ends[0]:.2f} to {ends[1]:.2f})"


def _verdict(one: PointStatistics) -> str | None:
    return one.equivalence.verdict if one.equivalence else None


def _is_lower(one: PointStatistics) -> bool:
    difference = one.difference
    if difference is None or difference.adjusted_p_value is None:
        return False
    return difference.difference < 0 and difference.adjusted_p_value <= SIGNIFICANT


def _labels(points: Sequence[PointStatistics]) -> str:
    return ", ".join(one.point.label for one in points)


def _with_differences(numbers: SeriesStatistics, points: Sequence[PointStatistics]) -> str:
    """List settings with their differences in points."""
    texts = [
        f"{one.point.label} ({one.difference.difference * numbers.scale:+.2f} points)"
        for one in points
        if one.difference is not None
    ]
    return ", ".join(texts)
