"""Medians of repeated measurements, with their spread or interval, and ratios of rates.

Nothing is assumed about the distribution of times. The interval of a median reaches from one
measured value to another, and its confidence follows from their number alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import CONFIDENCE, Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, with the smallest and the largest of them."""

    median: float
    smallest: float
    largest: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Summarise values; ``None`` where there is none, or one was not measured."""
        found = list(values)
        known = [value for value in found if value is not None]
        if not known or len(known) < len(found):
            return None
        return cls(median(known), min(known), max(known), len(known))


@dataclass(frozen=True)
class SpeedRatio:
    """A rate divided by the baseline's."""

    ratio: float
    """Median of the ratios of pairs; without pairs, the ratio of the two medians."""
    interval: Interval | None
    """Interval of the median; ``None`` without pairs."""
    n_pairs: int | None
    """Number of pairs; ``None`` without pairs."""
    ratio_of_totals: float | None = None
    """The ratio of the sums of all seconds; ``None`` where only rates are known."""

    @property
    def excludes_one(self) -> bool:
        """Whether the interval supports that one is faster than the other."""
        return self.interval is not None and not self.interval.holds(1.0)

    @property
    def width(self) -> float | None:
        """Width of the interval as a share of the ratio; ``None`` without an interval."""
        return (
            None if self.interval is None else (self.interval.high - self.interval.low) / self.ratio
        )


def speed_ratio(
    rates: Sequence[float], baseline: Sequence[float], *, paired: bool = True
) -> SpeedRatio:
    """Return the ratio of rates to the baseline's.

    The two rates of a pair were measured within moments of each other, at the same position of
    both series, so that a slower machine slowed both. Raises ``DataError`` for rates that are not
    above 0, and for series of different lengths unless ``paired`` is false.
    """
    _check(rates)
    _check(baseline)
    if not paired:
        return SpeedRatio(median(rates) / median(baseline), None, None)
    if len(rates) != len(baseline):
        message = (
            f"{len(rates)} rates cannot be paired with {len(baseline)} of the baseline. Measure "
            "both in each round, or compare them unpaired."
        )
        raise DataError(message)
    ratios = [own / base for own, base in zip(rates, baseline, strict=True)]
    return SpeedRatio(median(ratios), median_interval(ratios), len(ratios))


def paired_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> SpeedRatio:
    """Return how many times as fast as the baseline something is, from the seconds of pairs.

    The two times of a pair are those of the same work, at the same position of both series, taken
    within moments of each other. One pair has no interval. Raises what ``speed_ratio`` raises.
    """
    found = speed_ratio([1 / one for one in seconds], [1 / one for one in baseline])
    return replace(found, ratio_of_totals=sum(baseline) / sum(seconds))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the interval of a median between two of the values, with its actual confidence.

    It is the narrowest one of at least ``confidence``. Fewer than six values have none of 95%;
    theirs reaches from the smallest to the largest, with 75% for three values and 93.75% for five.
    ``None`` for one value. Valid for any distribution of independent values.
    """
    n = len(values)
    if n <= 1:
        return None
    ordered = sorted(values)
    misses = list(_misses(n))
    rank = max((rank for rank, miss in enumerate(misses) if miss <= 1 - confidence), default=0)
    return Interval(ordered[rank], ordered[n - 1 - rank], 1 - misses[rank])


def _misses(n: int) -> Iterator[float]:
    """Yield by rank the chance that the median of all is not between it and its counterpart.

    Each of ``n`` values lies below the true median with a chance of one half, so this is a sum of
    binomial coefficients.
    """
    coefficient = outcomes = 1
    for rank in range(n // 2):
        yield 2 * outcomes / 2**n
        coefficient = coefficient * (n - rank) // (rank + 1)
        outcomes += coefficient


def _check(rates: Sequence[float]) -> None:
    if not rates or min(rates) <= 0:
        message = f"The rates {list(rates)!r:.80} are not all above 0. Pass measured rates."
        raise DataError(message)
