"""The three groups of findings: within the margin, loses more, too few questions to tell."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


class Verdict(Enum):
    """What is shown of the accuracy of a setting."""

    WITHIN = "within"
    LOSES_MORE = "loses more"
    TOO_FEW = "too few questions"
    NOTHING = "smoke test"


def verdict(numbers: SeriesStatistics, one: PointStatistics) -> Verdict | None:
    """Return what the tests show of a setting; ``None`` where it was not compared.

    A smoke test shows nothing but that it has too few questions.
    """
    test = one.equivalence
    if test is None:
        return None
    if not test.loses_at_most and not test.loses_more:
        return Verdict.TOO_FEW
    if numbers.smoke_test:
        return Verdict.NOTHING
    return Verdict.WITHIN if test.loses_at_most else Verdict.LOSES_MORE


def verdict_text(numbers: SeriesStatistics, one: PointStatistics) -> str | None:
    """Return a verdict in words, with the margin; ``None`` where a setting was not compared."""
    found = verdict(numbers, one)
    if found is Verdict.WITHIN:
        return "gains more" if gains_more(numbers, one) else f"within {numbers.margin_text}"
    return found.value if found else None


def gains_more(numbers: SeriesStatistics, one: PointStatistics) -> bool:
    """Whether it is shown that a setting gains more than the margin."""
    return one.equivalence is not None and one.equivalence.interval.low >= numbers.margin
