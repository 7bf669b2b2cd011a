"""Choose among measured settings: Pareto front, knee, and the fastest within a margin.

More speed and a higher score are better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.stats.paired import PairedDifference
    from moe_eval_plugin.stats.speed import SpeedRatio

MIN_POINTS_OF_A_KNEE = 3
DECIMALS = 9


@dataclass(frozen=True)
class TradeOffPoint:
    """One measured setting with its score and its speed."""

    name: str
    """Name of the setting, such as ``k=4``."""
    score: float
    """Mean score of its questions."""
    samples_per_s: float
    """Questions per second."""
    difference: PairedDifference | None = None
    """Comparison with the baseline; ``None`` for the baseline itself."""
    speed_up: SpeedRatio | None = None
    """Speed divided by the baseline's, with its interval; ``None`` is not known."""

    @property
    def is_faster(self) -> bool:
        """Whether it is shown to be faster than the baseline: the interval lies above 1."""
        ratio = self.speed_up
        return ratio is not None and ratio.excludes_one and ratio.ratio > 1

    @property
    def is_slower(self) -> bool:
        """Whether it is shown to be slower than the baseline: the interval lies below 1."""
        ratio = self.speed_up
        return ratio is not None and ratio.excludes_one and ratio.ratio < 1

    def loses_at_most(self, margin: float) -> bool:
        """Whether it is shown to lose no more than a margin: a one-sided test at 5%.

        The lower end of the 90% interval of its difference lies above ``-margin``.
        """
        return self.difference is not None and self.difference.equivalence_interval.low > -margin


def pareto_front(points: Sequence[TradeOffPoint]) -> list[TradeOffPoint]:
    """List the points that no other point beats, from slow to fast.

    A point is beaten by one that is at least as good in both score and speed, and better in one.
    """
    front = [one for one in points if not any(_beats(other, one) for other in points)]
    return sorted(front, key=lambda point: (point.samples_per_s, point.name))


def knee(points: Sequence[TradeOffPoint]) -> TradeOffPoint | None:
    """Return the point of the Pareto front after which speed costs the most score.

    Score and speed of the front are scaled to 0 to 1; the knee is the point furthest above the
    line between the two ends. For a front of points this is the knee of Kneedle without smoothing
    (Satopää, Albrecht, Irwin and Raghavan 2011, doi:10.1109/ICDCSW.2011.20). ``None`` if no point
    lies above the line: then each step costs no more than the one before.

    It depends on the measured points: with other ends, it may be another one. Error bars are not
    considered.
    """
    front = pareto_front(points)
    if len(front) < MIN_POINTS_OF_A_KNEE or front[0].samples_per_s == front[-1].samples_per_s:
        return None
    slowest, fastest = front[0], front[-1]

    def height(point: TradeOffPoint) -> float:
        speed = point.samples_per_s - slowest.samples_per_s
        loss = slowest.score - point.score
        # Above the line from (0, 1) to (1, 0): 1 - loss is more than 1 - speed.
        return speed / (fastest.samples_per_s - slowest.samples_per_s) - loss / (
            slowest.score - fastest.score
        )

    best = max(front[1:-1], key=height)
    return best if height(best) > 0 else None


def fastest_within(
    points: Sequence[TradeOffPoint],
    baseline: TradeOffPoint,
    margin: float,
    *,
    certain: bool = False,
) -> TradeOffPoint | None:
    """Return the fastest point that loses at most ``margin`` of the baseline's score.

    ``margin`` is in the unit of the score: 0.01 is one point of 100. With ``certain`` a point must
    also be shown not to lose more (``TradeOffPoint.loses_at_most``) and to be faster than the
    baseline (``TradeOffPoint.is_faster``). ``None`` if no point qualifies, not even the baseline.

    Raises ``InvalidArgumentError`` for a margin below 0.
    """
    if not margin >= 0:
        message = f"A margin of {margin} is not possible. Use 0 or more: 0.01 is one point."
        raise InvalidArgumentError(message)
    allowed = [point for point in points if _is_within(point, baseline, margin, certain=certain)]
    return max(allowed, key=lambda point: (point.samples_per_s, point.score), default=None)


def closest_to_certain(
    points: Sequence[TradeOffPoint], baseline: TradeOffPoint, margin: float
) -> TradeOffPoint | None:
    """Return the point that lacks least to be the fastest within a margin for certain.

    That is the fastest one among those that are shown to lose no more than ``margin``; without such
    points, among those that lose no more by their scores. A point that is shown to be slower than
    the baseline is none of them. ``None`` where no point is left.
    """
    faster = [one for one in points if one != baseline and not one.is_slower]
    shown = [one for one in faster if one.loses_at_most(margin)]
    found = shown or [one for one in faster if _is_within(one, baseline, margin, certain=False)]
    return max(found, key=lambda one: (one.samples_per_s, one.score), default=None)


def per_correct_answer(amount: float | None, total_score: float) -> float | None:
    """Return seconds or joules per right answer; ``total_score`` is the sum of the scores.

    ``None`` if the amount was not measured, or no answer was right.
    """
    return None if amount is None or total_score <= 0 else amount / total_score


def _beats(one: TradeOffPoint, other: TradeOffPoint) -> bool:
    own, others = (one.score, one.samples_per_s), (other.score, other.samples_per_s)
    return own != others and all(a >= b for a, b in zip(own, others, strict=True))


def _is_within(
    point: TradeOffPoint, baseline: TradeOffPoint, margin: float, *, certain: bool
) -> bool:
    if point == baseline:
        return True
    # 0.8 - 0.79 is a little more than 0.01 in binary numbers, but it is one point.
    if round(baseline.score - point.score, DECIMALS) > margin:
        return False
    return not certain or (point.loses_at_most(margin) and point.is_faster)
