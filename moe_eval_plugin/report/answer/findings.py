"""What was found in a series, in a few sentences: what is shown, and the setting to recommend.

Only what was shown is claimed. A setting is within the margin, loses more, or has too few questions
to tell; one is recommended if a test shows that it loses no more than the margin, and the interval
of its speed-up lies above 1. Otherwise the findings say what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.report.analysis.speed_scope import sentences_on_speed
from moe_eval_plugin.report.analysis.timing_notes import sentences_on_timing
from moe_eval_plugin.report.analysis.verdicts import Verdict, gains_more, verdict
from moe_eval_plugin.text import points_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

Kind = Literal["smoke test", "recommendation", "group", "warning", "caveat", "note"]


@dataclass(frozen=True)
class Finding:
    """A sentence, and what is shown when the pointer is on it."""

    text: str
    detail: str = ""
    kind: Kind = "note"


def findings(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield what is shown, most important first: nothing is said of what tests cannot show."""
    if numbers.smoke_test:
        reasons = "; ".join(numbers.smoke_test)
        text = f"Smoke test: {reasons}. Nothing is concluded from it, and no setting recommended."
        yield Finding(text, kind="smoke test")
    elif (advice := _recommendation(numbers)) is not None:
        yield Finding(advice, kind="recommendation")
    yield from _groups(numbers)
    for text in numbers.warnings:
        yield Finding(text, kind="warning")
    for text in numbers.notes:
        yield Finding(text, kind="caveat")
    for text in (*sentences_on_timing(numbers.series), *sentences_on_speed(numbers)):
        yield Finding(text)


def _groups(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield a sentence for each group, with its settings."""
    margin = numbers.margin_text
    groups: dict[Verdict, list[PointStatistics]] = {}
    for one in numbers.points:
        found = verdict(numbers, one)
        if found is not None:
            groups.setdefault(found, []).append(one)
    within = groups.get(Verdict.WITHIN, [])
    if within:
        detail = f"Shown to lose no more than {margin}, by a one-sided test at the 5% level"
        better = " or better" if any(gains_more(numbers, one) for one in within) else ""
        yield Finding(f"Within {margin}{better}: {_listed(numbers, within)}.", detail, "group")
    more = groups.get(Verdict.LOSES_MORE, [])
    if more:
        detail = f"Shown to lose more than {margin}, by a one-sided test at the 5% level"
        yield Finding(f"Loses more than {margin}: {_listed(numbers, more)}.", detail, "group")
    few = groups.get(Verdict.TOO_FEW, [])
    if few:
        known = [n for one in few if one.equivalence and (n := one.equivalence.n_questions_to_tell)]
        about = f" (about {max(known):,} would)" if known and not numbers.smoke_test else ""
        detail = "So many show it with a chance of 80% if nothing is lost, or what was seen"
        text = f"Too few questions to tell{about}: {_listed(numbers, few)}."
        yield Finding(text, detail if about else "", "group")


def _recommendation(numbers: SeriesStatistics) -> str | None:
    """Return the setting to recommend, or what is missing; ``None`` without a comparison."""
    compared = [one for one in numbers.points if one.difference is not None]
    baseline = numbers.series.baseline
    if baseline is None or not compared:
        return None
    named = {one.point.label: one for one in numbers.points}
    if numbers.recommended is not None:
        one, at = named[numbers.recommended], _at_batch_size(numbers)
        speed = one.speed_up.text if one.speed_up else ""
        return (
            f"Recommended: {one.point.label}. It is {speed} as fast as {baseline.label}{at} and "
            f"{_change(numbers, one)}: no more than the {numbers.margin_text} you allow."
        )
    if numbers.candidate is not None:
        return f"No recommendation yet: {_missing(numbers, named[numbers.candidate])}."
    if all(verdict(numbers, one) is Verdict.LOSES_MORE for one in compared):
        return f"No recommendation: every other setting loses more than {numbers.margin_text}."
    if all(one.speed_up is None for one in compared):
        return "No recommendation: speed-ups were not measured."
    return (
        f"No recommendation: no setting both loses at most {numbers.margin_text} and may be faster "
        f"than {baseline.label}."
    )


def _missing(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return what a setting lacks to be recommended."""
    label, margin, ratio = one.point.label, numbers.margin_text, one.speed_up
    if verdict(numbers, one) is not Verdict.WITHIN:
        test = one.equivalence
        n = test.n_questions_to_tell if test else None
        asked = f"{test.n_questions:,} questions" if test else "these questions"
        enough = f"; about {n:,} questions would show it" if n else ""
        return (
            f"{label} {_change(numbers, one)}, and {asked} do not show that it loses no more than "
            f"{margin}{enough}"
        )
    if ratio is None:
        return f"{label} is within {margin}, but its speed-up was not measured"
    if ratio.interval is None:
        return f"{label} is within {margin}, but its speed-up, {ratio.ratio:.2f}×, was timed once"
    speed_up = f"{ratio.text}{_at_batch_size(numbers)}"
    return f"{label} is within {margin}, but its speed-up, {speed_up}, may be none"


def _at_batch_size(numbers: SeriesStatistics) -> str:
    size = numbers.points[0].batch_size
    return "" if size is None else f" at batch size {size}"


def _change(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return how much accuracy a setting loses or gains, with the interval."""
    if one.difference is None:
        return "was not compared"
    scale, interval = numbers.scale, one.difference.interval
    loss = -one.difference.difference * scale
    if loss >= 0:
        verb, ends = "loses", (-interval.high * scale, -interval.low * scale)
    else:
        verb, ends = "gains", (interval.low * scale, interval.high * scale)
    low, high = map(points_text, ends)
    return f"{verb} {points_text(abs(loss))} points ({low} to {high})"


def _listed(numbers: SeriesStatistics, points: Sequence[PointStatistics]) -> str:
    """List settings with their differences in points."""
    texts = [
        f"{one.point.label} ({points_text(one.difference.difference * numbers.scale, sign=True)} "
        "points)"
        for one in points
        if one.difference is not None
    ]
    return ", ".join(texts)
