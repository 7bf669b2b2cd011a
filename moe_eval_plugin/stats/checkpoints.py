"""Effects over several checkpoints of one model: seeds of its training, or points of one training.

Every checkpoint answers the same questions at the same settings. What is to be known is the effect
in checkpoints and on questions that were not tried, so both are random: the difference of a
checkpoint on a question is the mean effect, plus a part of the checkpoint, plus a part of the
question, plus the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.accuracy import DEFAULT_BOOTSTRAP, UNIT_BOUNDS
from moe_eval_plugin.stats.paired import paired_difference
from moe_eval_plugin.stats.resampling import CONFIDENCE, DECIMALS, Bootstrap, Interval

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import ArrayLike

    from moe_eval_plugin.stats.resampling import Array

# With one checkpoint less, each of them needs to change in one direction for a p-value below 5%.
LEAST_FOR_A_SIGN = 6
# Quantiles of smaller p-values are not finite numbers.
LEAST_P_VALUE = 1e-15


@dataclass(frozen=True)
class Signs:
    """How many checkpoints lose, with what that says of others."""

    n_lower: int
    """Checkpoints with a lower score than at the baseline."""
    n_higher: int
    """Checkpoints with a higher score."""
    n_equal: int
    """Checkpoints with the same score, which count for neither."""
    share_lower: Interval | None
    """Clopper-Pearson interval of the share that loses; ``None`` where all are equal."""
    p_value: float | None
    """Two-sided exact p-value that losing is as likely as gaining; ``None`` as above."""


@dataclass(frozen=True)
class CheckpointDifference:
    """The mean difference to the baseline over checkpoints, each with the same questions."""

    difference: float
    """Mean of the differences of the checkpoints, each of which counts the same."""
    differences: tuple[float, ...]
    """Difference of each checkpoint."""
    spread: float | None
    """Standard deviation of the differences; ``None`` for one checkpoint."""
    interval: Interval | None
    """Interval for other checkpoints and other questions; ``None`` for one checkpoint."""
    over_checkpoints: Interval | None
    """Interval for other checkpoints on these questions; ``None`` for one checkpoint."""
    over_questions: Interval
    """Interval for other questions with these checkpoints."""
    p_value: float | None
    """Two-sided p-value by ``interval``; ``None`` for one checkpoint, or without variation."""
    signs: Signs
    """How many checkpoints lose."""
    n_questions: int
    """Questions that all checkpoints answered."""
    n_clusters: int
    """Clusters of these questions (images)."""

    @property
    def n_checkpoints(self) -> int:
        """Number of checkpoints."""
        return len(self.differences)


@dataclass(frozen=True)
class CheckpointRatio:
    """The geometric mean of speed-ups over checkpoints."""

    ratio: float
    """Geometric mean."""
    ratios: tuple[float, ...]
    """Speed-up of each checkpoint."""
    interval: Interval | None
    """t interval of the mean logarithm, as ratios; ``None`` for one checkpoint."""


def checkpoint_difference(
    scores: Sequence[ArrayLike],
    baselines: Sequence[ArrayLike],
    clusters: Sequence[Hashable] | None = None,
    *,
    bounds: tuple[float, float] = UNIT_BOUNDS,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> CheckpointDifference:
    """Return the mean difference over checkpoints; ``[n_checkpoints, n_questions]`` scores.

    ``interval`` joins two t intervals: that over the checkpoints' differences, and that over
    questions, whose scores are averaged over checkpoints first. The squares of their half widths
    are added (Zou and Donner 2008, doi:10.1002/sim.3095), so that it is at least as wide as each.
    What a checkpoint and a question do together is in both parts: it is too wide rather than too
    narrow. ``p_value`` is one minus the confidence at which it ends at 0.

    Raises ``DataError`` for no checkpoint, and for different numbers of questions.
    """
    own, base = _same_questions(scores, baselines)
    found = tuple(float(one) for one in (own - base).mean(axis=1))
    pooled = paired_difference(
        own.mean(axis=0), base.mean(axis=0), clusters, bounds=bounds, bootstrap=bootstrap
    )
    confidence = bootstrap.confidence
    n, middle = len(found), mean(found)
    spread = stdev(found) if n > 1 else None
    interval, p_value = None, None
    if spread is not None:
        parts = (spread / math.sqrt(n), n - 1), (pooled.standard_error, pooled.n_clusters - 1)
        reach = _reach(parts, confidence)
        interval = Interval(middle - reach, middle + reach, confidence)
        p_value = _p_value(middle, parts)
    return CheckpointDifference(
        difference=middle,
        differences=found,
        spread=spread,
        interval=interval,
        over_checkpoints=_t_interval(found, confidence),
        over_questions=pooled.interval,
        p_value=p_value,
        signs=count_signs(found, confidence),
        n_questions=pooled.n_questions,
        n_clusters=pooled.n_clusters,
    )


def checkpoint_ratio(ratios: Sequence[float], confidence: float = CONFIDENCE) -> CheckpointRatio:
    """Return the geometric mean of the speed-ups of checkpoints, with a t interval over them.

    Raises ``DataError`` for no ratio, or for one that is not above 0.
    """
    if not ratios or min(ratios) <= 0 or not all(map(math.isfinite, ratios)):
        message = f"Speed-ups of {list(ratios)} cannot be averaged. Pass finite numbers above 0."
        raise DataError(message)
    logarithms = [math.log(one) for one in ratios]
    found = _t_interval(logarithms, confidence)
    ends = found and Interval(math.exp(found.low), math.exp(found.high), confidence)
    return CheckpointRatio(math.exp(mean(logarithms)), tuple(ratios), ends)


def count_signs(differences: Sequence[float], confidence: float = CONFIDENCE) -> Signs:
    """Return how many differences are below 0, with an exact interval and test over checkpoints.

    The interval holds the true share at least as often as it says (Clopper and Pearson 1934,
    doi:10.1093/biomet/26.4.404).
    """
    from scipy.stats import binomtest

    # Sums in another order differ in their last digits.
    rounded = [round(one, DECIMALS) for one in differences]
    n_lower = sum(one < 0 for one in rounded)
    n_higher = sum(one > 0 for one in rounded)
    n_equal = len(differences) - n_lower - n_higher
    if n_lower + n_higher == 0:
        return Signs(0, 0, n_equal, None, None)
    test = binomtest(n_lower, n_lower + n_higher)
    ends = test.proportion_ci(confidence, method="exact")
    share = Interval(float(ends.low), float(ends.high), confidence)
    return Signs(n_lower, n_higher, n_equal, share, float(test.pvalue))


def least_sign_p_value(n_checkpoints: int) -> float:
    """Return the smallest p-value that the signs of so many checkpoints can have."""
    return min(1.0, 2.0 ** (1 - n_checkpoints))


def _same_questions(
    scores: Sequence[ArrayLike], baselines: Sequence[ArrayLike]
) -> tuple[Array, Array]:
    """Return both as ``[n_checkpoints, n_questions]``; ``DataError`` where the sizes differ."""
    import numpy as np

    sizes = {len(np.atleast_1d(one)) for one in (*scores, *baselines)}
    if len(scores) != len(baselines) or len(sizes) != 1:
        message = (
            f"{len(scores)} checkpoints and {len(baselines)} baselines with {sorted(sizes)} "
            "questions cannot be pooled. Pass the same questions of each."
        )
        raise DataError(message)
    return np.asarray(scores, dtype=np.float64), np.asarray(baselines, dtype=np.float64)


def _t_interval(values: Sequence[float], confidence: float) -> Interval | None:
    if len(values) == 1:
        return None
    error = stdev(values) / math.sqrt(len(values))
    reach, middle = _reach([(error, len(values) - 1)], confidence), mean(values)
    return Interval(middle - reach, middle + reach, confidence)


def _reach(parts: Iterable[tuple[float, int]], confidence: float) -> float:
    """Return half the width of an interval; ``parts`` are standard errors with degrees of freedom.

    A part without degrees of freedom is left out: a single question says nothing about others.
    """
    from scipy.stats import t

    reaches = [error * float(t.ppf((1 + confidence) / 2, n)) for error, n in parts if n > 0]
    return math.hypot(*reaches)


def _p_value(middle: float, parts: Sequence[tuple[float, int]]) -> float | None:
    """Return one minus the confidence at which the interval ends at 0; ``None`` without a width."""
    from scipy.optimize import brentq

    if not any(error > 0 and n > 0 for error, n in parts):
        return None

    def surplus(p_value: float) -> float:
        return _reach(parts, 1 - p_value) - abs(middle)

    if middle == 0:
        return 1.0
    return LEAST_P_VALUE if surplus(LEAST_P_VALUE) < 0 else float(brentq(surplus, LEAST_P_VALUE, 1))
