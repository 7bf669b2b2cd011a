"""Compare two runs over the same questions: difference, interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.accuracy import DEFAULT_BOOTSTRAP, UNIT_BOUNDS
from moe_eval_plugin.stats.resampling import (
    Bootstrap,
    Interval,
    as_scores,
    cluster_codes,
    cluster_rows,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from moe_eval_plugin.stats.resampling import Array

BOOTSTRAP_TEST = "paired cluster bootstrap"
MCNEMAR_TEST = "exact McNemar"
# Two one-sided tests at 5% are equivalent to this interval.
EQUIVALENCE_CONFIDENCE = 0.9
# p-values up to this one are significant.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """The difference of a run's score to the baseline's on the same questions."""

    value: float
    """Mean score of the run."""
    baseline_value: float
    """Mean score of the baseline."""
    difference: float
    """``value - baseline_value``."""
    interval: Interval
    """Interval of the difference at the confidence of the bootstrap, 95% by default."""
    equivalence_interval: Interval
    """Interval of the difference at 90%, which decides about equivalence."""
    standard_error: float
    """Standard error of the difference."""
    p_value: float
    """Two-sided p-value of ``test``."""
    test: str
    """Name of the test."""
    mcnemar_p_value: float | None
    """p-value if questions were independent; ``None`` unless all scores are 0 or 1."""
    retention: float | None
    """``value / baseline_value``; ``None`` if the baseline has no score above 0."""
    retention_interval: Interval | None
    """Interval of the retention."""
    n_higher: int
    """Number of questions with a higher score than the baseline's."""
    n_lower: int
    """Number of questions with a lower score than the baseline's."""
    n_questions: int
    """Number of questions."""
    n_clusters: int
    """Number of clusters (images)."""
    adjusted_p_value: float | None = None
    """``p_value`` after Holm's adjustment; ``None`` for a single comparison."""


def paired_difference(
    scores: ArrayLike,
    baseline: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    bounds: tuple[float, float] = UNIT_BOUNDS,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> PairedDifference:
    """Return the paired difference of two runs; arguments as in ``accuracy``.

    Two questions are added to the resamples, but not to the values: one that only the baseline
    answers, and one that only the other run answers. Without them, runs with equal answers would
    have an interval of no width (Bonett and Price 2012, doi:10.3102/1076998611411915).

    Scores of 0 and 1 on questions that share no image are tested by McNemar's exact test, all
    others by the bootstrap: twice the share of resamples on the other side of 0. Raises
    ``DataError`` for runs with different numbers of questions.
    """
    import numpy as np

    own, base = as_scores(scores), as_scores(baseline)
    if len(own) != len(base):
        message = (
            f"{len(own)} scores cannot be paired with {len(base)} of the baseline. Pass scores "
            "of the same questions."
        )
        raise DataError(message)
    rows = cluster_rows([own, base], cluster_codes(clusters, len(own)))
    low, high = bounds
    drawn = bootstrap.sums(np.vstack([rows, [[1.0, low, high], [1.0, high, low]]]))
    differences = (drawn[:, 1] - drawn[:, 2]) / drawn[:, 0]
    mcnemar = _mcnemar(own, base)
    are_independent = mcnemar is not None and len(rows) == len(own)
    return PairedDifference(
        value=float(own.mean()),
        baseline_value=float(base.mean()),
        difference=float((own - base).mean()),
        interval=bootstrap.interval(differences),
        equivalence_interval=bootstrap.interval(differences, EQUIVALENCE_CONFIDENCE),
        standard_error=float(differences.std(ddof=1)),
        p_value=mcnemar if mcnemar is not None and are_independent else _two_sided(differences),
        test=MCNEMAR_TEST if are_independent else BOOTSTRAP_TEST,
        mcnemar_p_value=mcnemar,
        **_retention(own, base, drawn, bootstrap),
        n_higher=int((own > base).sum()),
        n_lower=int((own < base).sum()),
        n_questions=len(own),
        n_clusters=len(rows),
    )


def adjust(differences: Mapping[str, PairedDifference]) -> dict[str, PairedDifference]:
    """Return the comparisons with p-values adjusted for their number by Holm's method."""
    adjusted = holm([one.p_value for one in differences.values()])
    return {
        name: replace(one, adjusted_p_value=p)
        for (name, one), p in zip(differences.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's method, in the same order.

    If those at or below 5% are called significant, the probability of one or more false calls is
    below 5% (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def _mcnemar(own: Array, base: Array) -> float | None:
    """Return the p-value of McNemar's exact test; ``None`` for scores other than 0 and 1."""
    import numpy as np
    from scipy.stats import binomtest

    if not np.isin([own, base], (0.0, 1.0)).all():
        return None
    n_changed = int((own != base).sum())
    return float(binomtest(int((own > base).sum()), n_changed).pvalue) if n_changed else 1.0


def _two_sided(differences: Array) -> float:
    """Return twice the share of resamples beyond 0, the observed data counted as one more."""
    n_beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (n_beyond + 1) / (len(differences) + 1))


def _retention(own: Array, base: Array, drawn: Array, bootstrap: Bootstrap) -> dict[str, Any]:
    if base.mean() <= 0 or drawn[:, 2].min() <= 0:
        return {"retention": None, "retention_interval": None}
    return {
        "retention": float(own.mean() / base.mean()),
        "retention_interval": bootstrap.interval(drawn[:, 1] / drawn[:, 2]),
    }
