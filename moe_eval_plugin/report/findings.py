"""What a report says first: the findings of a series in a few sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.stats.equivalence import CANNOT_TELL, NO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

SIGNIFICANT = 0.05


def sentences(numbers: SeriesStatistics) -> Iterator[str]:
    """Say what was found; nothing is said of what cannot be told."""
    compared = [one for one in numbers.points if one.difference is not None]
    if compared:
        yield from _losses(numbers, compared)
    yield from _choice(numbers)
    knee = next((one for one in numbers.points if one.is_knee), None)
    if knee is not None:
        yield f"The knee, after which speed costs the most, is {knee.point.label}."
    yield from numbers.notes


def _losses(numbers: SeriesStatistics, compared: list[PointStatistics]) -> Iterator[str]:
    """Sort the points by what the tests say of them."""
    margin = numbers.margin_text
    lower = [one for one in compared if _is_lower(one)]
    if lower:
        yield f"Significantly below the baseline (5%, Holm): {_list(numbers, lower)}."
    not_lower = [one for one in compared if not _is_lower(one)]
    if not_lower:
        yield f"No significant loss: {_list(numbers, not_lower)}."
    beyond = [one for one in compared if one.equivalence and one.equivalence.verdict == NO]
    if beyond:
        yield f"Shown to differ by more than {margin}: {_labels(beyond)}."
    for one in compared:
        test = one.equivalence
        if test is not None and test.verdict == CANNOT_TELL and test.n_questions_needed:
            yield (
                f"Whether {one.point.label} is within {margin} of the baseline cannot be told from "
                f"{test.n_questions:,} questions; if there is no difference, about "
                f"{test.n_questions_needed:,} would show it."
            )


def _choice(numbers: SeriesStatistics) -> Iterator[str]:
    baseline = numbers.series.baseline
    if baseline is None or numbers.fastest is None or len(numbers.points) <= 1:
        return
    margin = numbers.margin_text
    if numbers.fastest == baseline.label:
        yield f"No setting is faster than the baseline and loses at most {margin}."
        return
    chosen = next(one for one in numbers.points if one.point.label == numbers.fastest)
    speed = f", {chosen.speed_up:.2f} times as fast" if chosen.speed_up else ""
    shown = numbers.fastest_certain == numbers.fastest
    certainty = "is shown by a test" if shown else "is not certain with these questions"
    yield (
        f"The fastest setting that loses at most {margin} is {chosen.point.label}{speed}; that it "
        f"loses no more {certainty}."
    )


def _is_lower(one: PointStatistics) -> bool:
    difference = one.difference
    if difference is None or difference.adjusted_p_value is None:
        return False
    return difference.difference < 0 and difference.adjusted_p_value <= SIGNIFICANT


def _labels(points: list[PointStatistics]) -> str:
    return ", ".join(one.point.label for one in points)


def _list(numbers: SeriesStatistics, points: list[PointStatistics]) -> str:
    """List points with their differences."""
    texts = [
        f"{one.point.label} ({one.difference.difference * numbers.scale:+.2f} points)"
        for one in points
        if one.difference is not None
    ]
    return ", ".join(texts)
