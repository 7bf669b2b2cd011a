"""Speed over repetitions: the median, the spread, and the ratio to the baseline.

Nothing is assumed about how times scatter. The interval of a median reaches from one measured value
to another, and its confidence follows from their number alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import CONFIDENCE, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Speed:
    """The median of repeated measurements, with the smallest and the largest of them.

    ``interval`` is the median's; ``None`` for a single repetition.
    """

    median: float
    smallest: float
    largest: float
    interval: Interval | None
    n_repetitions: int

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SpeedRatio:
    """How many times the baseline's rate a rate is.

    With pairs it is the median of their ratios, with its interval; without, the ratio of the two
    medians, and the interval is ``None``.
    """

    ratio: float
    interval: Interval | None
    n_pairs: int | None

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data, ready for JSON."""
        return asdict(self)


def speed(rates: Sequence[float]) -> Speed:
    """Describe the rates of all repetitions of one point; ``DataError`` without positive ones."""
    _check(rates)
    return Speed(median(rates), min(rates), max(rates), median_interval(rates), len(rates))


def speed_ratio(
    rates: Sequence[float], baseline: Sequence[float], *, paired: bool = True
) -> SpeedRatio:
    """Compare rates with the baseline's.

    Pairs were measured within moments of each other, in the same order in both series, so that
    whatever slowed the machine for longer slowed both. Raises ``DataError`` if they are no pairs.
    """
    _check(rates)
    _check(baseline)
    if not paired:
        return SpeedRatio(median(rates) / median(baseline), None, None)
    if len(rates) != len(baseline):
        message = (
            f"{len(rates)} rates and {len(baseline)} of the baseline are no pairs. Measure both in "
            "each round, or compare them unpaired."
        )
        raise DataError(message)
    ratios = [own / base for own, base in zip(rates, baseline, strict=True)]
    return SpeedRatio(median(ratios), median_interval(ratios), len(ratios))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Give the interval of a median between two of the values, with the confidence that it has.

    It is the narrowest one of at least ``confidence``. With fewer than six values there is none
    of 95%, and it reaches from the smallest to the largest: 75% for three values, 93.75% for
    five. ``None`` for one value. Any distribution will do, if values are independent.
    """
    from scipy.stats import binom

    n = len(values)
    if n <= 1:
        return None
    ordered = sorted(values)
    # Each value lies below the true median with a chance of one half.
    misses = [2 * float(binom.cdf(rank, n, 0.5)) for rank in range(n // 2)]
    rank = max((rank for rank, miss in enumerate(misses) if miss <= 1 - confidence), default=0)
    return Interval(ordered[rank], ordered[n - 1 - rank], 1 - misses[rank])


def _check(rates: Sequence[float]) -> None:
    if not rates or min(rates) <= 0:
        message = f"The rates {list(rates)!r:.80} have no median above 0. Give measured rates."
        raise DataError(message)
