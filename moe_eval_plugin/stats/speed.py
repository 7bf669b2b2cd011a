"""Medians of repeated measurements, with their spread or interval, and ratios of rates.

Ratios are averaged, and intervals interpolated, as logarithms: "twice as fast" and "half as fast"
are then the same distance from 1, and exchanging the two sides inverts every number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from statistics import mean, median, stdev
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import CONFIDENCE, Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_VALUES_OF_RANKS = 6
# Whoever looks after each block and stops at the first narrow interval stops rather where it is
# narrow by chance. An interval that is 96.5% by its formula then holds the truth in 94% to 97% of
# cases, and one that is 95% in 91% to 95%: ``docs/explanation/statistics.md`` has more.
LOOKED_AT_CONFIDENCE = 0.965


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
    """Interval of the median, 95%; ``None`` without pairs, or with a single one."""
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

    @property
    def text(self) -> str:
        """The ratio as text: ``1.37× (1.31 to 1.42)``, or ``1.37×, timed once``."""
        if self.interval is None:
            return f"{self.ratio:.2f}×, timed once"
        return f"{self.ratio:.2f}× ({self.interval.low:.2f} to {self.interval.high:.2f})"


def speed_ratio(
    rates: Sequence[float], baseline: Sequence[float], *, paired: bool = True
) -> SpeedRatio:
    """Return the ratio of rates to the baseline's.

    The two rates of a pair were measured within moments of each other, at the same position of
    both series, so that a slower machine slowed both. One pair has no interval. Raises
    ``DataError`` for rates that are not above 0, and for series of different lengths unless
    ``paired`` is false.
    """
    _check(rates)
    _check(baseline)
    if not paired:
        return SpeedRatio(median(rates) / median(baseline), None, None)
    return _ratio_of_pairs(rates, baseline, CONFIDENCE)


def paired_ratio(
    seconds: Sequence[float], baseline: Sequence[float], *, repeated_looks: bool = False
) -> SpeedRatio:
    """Return how many times as fast as the baseline something is, from the seconds of pairs.

    The two times of a pair are those of the same work, at the same position of both series, taken
    within moments of each other. With ``repeated_looks`` measuring goes on until the interval is
    narrow enough, and the interval is wider for it: see ``LOOKED_AT_CONFIDENCE``. Raises what
    ``speed_ratio`` raises.
    """
    _check(seconds)
    _check(baseline)
    level = LOOKED_AT_CONFIDENCE if repeated_looks else CONFIDENCE
    found = _ratio_of_pairs([1 / one for one in seconds], [1 / one for one in baseline], level)
    if found.interval is not None:
        # What a reader gets is the confidence after all looks.
        found = replace(found, interval=replace(found.interval, confidence=CONFIDENCE))
    return replace(found, ratio_of_totals=sum(baseline) / sum(seconds))


def ratio_of_ratios(before: SpeedRatio, now: SpeedRatio, n_compared: int = 1) -> SpeedRatio | None:
    """Return a speed-up divided by an earlier one, which was measured apart from it.

    The interval is MOVER's (Zou and Donner 2008, doi:10.1002/sim.3095) on the logarithms, made of
    the two intervals alone. It may exclude 1 although those overlap a little, because chance seldom
    moves both towards each other. Where several speed-ups are compared at once, it is as much wider
    as ``n_compared`` normal intervals are that hold together (Bonferroni). ``None`` unless both
    have an interval.
    """
    from scipy.stats import norm

    if before.interval is None or now.interval is None:
        return None
    down = math.hypot(
        math.log(now.ratio / now.interval.low), math.log(before.interval.high / before.ratio)
    )
    up = math.hypot(
        math.log(now.interval.high / now.ratio), math.log(before.ratio / before.interval.low)
    )
    ratio = now.ratio / before.ratio
    miss = 1 - min(before.interval.confidence, now.interval.confidence)
    wider = float(norm.ppf(1 - miss / n_compared / 2) / norm.ppf(1 - miss / 2))
    interval = Interval(
        ratio * math.exp(-down * wider), ratio * math.exp(up * wider), 1 - miss / n_compared
    )
    return SpeedRatio(ratio, interval, None)


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the interval of the median of values above 0; ``None`` for one value.

    From six values on it is that of Hettmansperger and Sheather (1986,
    doi:10.1016/0167-7152(86)90021-0): interpolated between the two pairs of values that would have
    a little more and a little less than ``confidence``. It assumes little about how values scatter,
    and an outlier moves it no further than any other value does. Two to five values have no such
    interval; theirs is that of Student's t, which assumes that their logarithms scatter like the
    normal distribution, and is wide.
    """
    n = len(values)
    if n <= 1:
        return None
    logs = sorted(math.log(value) for value in values)
    if n < MIN_VALUES_OF_RANKS:
        half = stdev(logs) / math.sqrt(n) * _student(n - 1, confidence)
        return Interval(math.exp(mean(logs) - half), math.exp(mean(logs) + half), confidence)
    depth, inner = _ranks(n, confidence)
    low = (1 - inner) * logs[depth - 1] + inner * logs[depth]
    high = (1 - inner) * logs[n - depth] + inner * logs[n - depth - 1]
    return Interval(math.exp(low), math.exp(high), confidence)


def _ratio_of_pairs(
    rates: Sequence[float], baseline: Sequence[float], confidence: float
) -> SpeedRatio:
    if len(rates) != len(baseline):
        message = (
            f"{len(rates)} rates cannot be paired with {len(baseline)} of the baseline. Measure "
            "both in each round, or compare them unpaired."
        )
        raise DataError(message)
    ratios = [own / base for own, base in zip(rates, baseline, strict=True)]
    middle = math.exp(median(math.log(ratio) for ratio in ratios))
    return SpeedRatio(middle, median_interval(ratios, confidence), len(ratios))


@cache
def _ranks(n: int, confidence: float) -> tuple[int, float]:
    """Return the rank at which an interval of ``n`` values begins, and the share of its neighbour.

    Ranks count from 1. The interval between the values of rank d and n + 1 - d has the confidence
    1 - 2 P(fewer than d of n coins show heads): each value lies below the median with a chance of
    one half.
    """
    from scipy.stats import binom

    def reached(rank: int) -> float:
        return 1 - 2 * float(binom.cdf(rank - 1, n, 0.5))

    # The last rank has half of the values on each side; more confidence than rank 1 has cannot be.
    rank = max((d for d in range(1, n // 2 + 1) if reached(d) >= confidence), default=1)
    excess = (reached(rank) - confidence) / (reached(rank) - reached(rank + 1))
    share = (n - rank) * excess / (rank + (n - 2 * rank) * excess)
    return rank, max(share, 0.0)


@cache
def _student(degrees: int, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, degrees))


def _check(rates: Sequence[float]) -> None:
    if not rates or min(rates) <= 0:
        message = f"The rates {list(rates)!r:.80} are not all above 0. Pass measured rates."
        raise DataError(message)
