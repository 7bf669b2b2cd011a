"""Which k to choose: what a list of measured points says, and what it does not.

Every aid takes points that are measured already, and names some of them. More speed and a larger
score are better.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.stats.paired import PairedDifference

MIN_POINTS_OF_A_KNEE = 3
DECIMALS = 9


@dataclass(frozen=True)
class TradeOffPoint:
    """One measured setting: its name (``k=4``), its score, and its speed (samples per second).

    ``difference`` compares its score with the baseline's; ``None`` for the baseline itself.
    """

    name: str
    score: float
    samples_per_s: float
    difference: PairedDifference | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the point as plain data, ready for JSON."""
        return asdict(self)


def pareto_front(points: Sequence[TradeOffPoint]) -> list[TradeOffPoint]:
    """List the points that no other one beats, from slow to fast.

    A point is beaten by one that is at least as good in both score and speed, and better in one.
    """
    front = [one for one in points if not any(_beats(other, one) for other in points)]
    return sorted(front, key=lambda point: (point.samples_per_s, point.name))


def knee(points: Sequence[TradeOffPoint]) -> TradeOffPoint | None:
    """Find the point of the Pareto front after which speed costs the most.

    Score and speed of the front are scaled to 0 to 1, and the knee is the point that lies furthest
    above the line between the two ends of the front. For a front that is given by its points this
    is the knee of Kneedle without smoothing (Satopää, Albrecht, Irwin and Raghavan 2011,
    doi:10.1109/ICDCSW.2011.20). ``None`` where no point lies above the line: each step then costs
    as much as, or less than, the one before, and there is no knee.

    It is a property of the points measured: with other ends, it may be another point. It knows no
    error bars.
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
    """Find the fastest point that loses at most ``margin`` of the baseline's score.

    ``margin`` is in the unit of the score: 0.01 is one point of 100. With ``certain`` a point must
    also be shown not to lose more: the lower end of the 90% interval of its difference lies above
    ``-margin``, which is a one-sided test at 5%. ``None`` where no point qualifies, the baseline
    included.

    Raises ``InvalidArgumentError`` for a margin below 0.
    """
    if not margin >= 0:
        message = f"A margin of {margin} is not possible. Use 0 or more: 0.01 is one point."
        raise InvalidArgumentError(message)
    allowed = [point for point in points if _is_within(point, baseline, margin, certain=certain)]
    return max(allowed, key=lambda point: (point.samples_per_s, point.score), default=None)


def per_correct_answer(amount: float | None, total_score: float) -> float | None:
    """Divide seconds or joules by the sum of the scores, which is the number of right answers.

    ``None`` where the amount was not measured, and where no answer was right.
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
    # 0.8 - 0.79 is a little more than 0.01 in binary numbers, and it is one point all the same.
    if round(baseline.score - point.score, DECIMALS) > margin:
        return False
    if not certain:
        return True
    return point.difference is not None and point.difference.equivalence_interval.low > -margin
