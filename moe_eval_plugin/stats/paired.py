"""Two runs over the same questions: the difference, its interval and its p-value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.accuracy import UNIT_BOUNDS, USUAL
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
# The interval that two one-sided tests at 5% amount to.
EQUIVALENCE_CONFIDENCE = 0.9


@dataclass(frozen=True)
class PairedDifference:
    """How far a run is from the baseline on the same questions: ``value - baseline_value``.

    ``retention`` is ``value / baseline_value``, a share, with its interval; ``None`` where the
    baseline has no score above 0. ``equivalence_interval`` is the difference's at 90%.
    ``p_value`` is that of ``test``; ``mcnemar_p_value`` takes questions for independent, and is
    ``None`` unless scores are 0 or 1. ``adjusted_p_value`` is Holm's, ``None`` where the
    comparison stands alone. ``n_higher`` and ``n_lower`` count the questions whose score is.
    """

    value: float
    baseline_value: float
    difference: float
    interval: Interval
    equivalence_interval: Interval
    standard_error: float
    p_value: float
    test: str
    mcnemar_p_value: float | None
    retention: float | None
    retention_interval: Interval | None
    n_higher: int
    n_lower: int
    n_questions: int
    n_clusters: int
    adjusted_p_value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data, ready for JSON."""
        return asdict(self)


def paired_difference(
    scores: ArrayLike,
    baseline: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    bounds: tuple[float, float] = UNIT_BOUNDS,
    bootstrap: Bootstrap = USUAL,
) -> PairedDifference:
    """Compare two runs question by question; arguments are those of ``accuracy``.

    Two questions join the resamples, not the values: one that only the baseline answers, and one
    that only the other run does. Without them, runs that differ in no answer would have an
    interval without a width (Bonett and Price 2012, doi:10.3102/1076998611411915).

    Scores of 0 and 1 on questions that share no image are tested by McNemar's exact test, all
    others by the bootstrap: twice the share of resamples on the far side of 0.
    """
    import numpy as np

    own, base = as_scores(scores), as_scores(baseline)
    if len(own) != len(base):
        message = f"{len(own)} scores and {len(base)} of the baseline are no pairs. Give as many."
        raise DataError(message)
    rows = cluster_rows([own, base], cluster_codes(clusters, len(own)))
    low, high = bounds
    drawn = bootstrap.sums(np.vstack([rows, [[1.0, low, high], [1.0, high, low]]]))
    differences = (drawn[:, 1] - drawn[:, 2]) / drawn[:, 0]
    mcnemar = _mcnemar(own, base)
    alone = mcnemar is not None and len(rows) == len(own)
    return PairedDifference(
        value=float(own.mean()),
        baseline_value=float(base.mean()),
        difference=float((own - base).mean()),
        interval=bootstrap.interval(differences),
        equivalence_interval=bootstrap.interval(differences, EQUIVALENCE_CONFIDENCE),
        standard_error=float(differences.std(ddof=1)),
        p_value=mcnemar if mcnemar is not None and alone else _two_sided(differences),
        test=MCNEMAR_TEST if alone else BOOTSTRAP_TEST,
        mcnemar_p_value=mcnemar,
        **_retention(own, base, drawn, bootstrap),
        n_higher=int((own > base).sum()),
        n_lower=int((own < base).sum()),
        n_questions=len(own),
        n_clusters=len(rows),
    )


def adjust(differences: Mapping[str, PairedDifference]) -> dict[str, PairedDifference]:
    """Give each comparison its p-value after Holm."""
    adjusted = holm([one.p_value for one in differences.values()])
    return {
        name: replace(one, adjusted_p_value=p)
        for (name, one), p in zip(differences.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's method, in the order given.

    To call those at or below 5% significant keeps the chance of one false call or more below 5%
    (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def _mcnemar(own: Array, base: Array) -> float | None:
    """Test whether as many questions were gained as lost; ``None`` for scores beside 0 and 1."""
    import numpy as np
    from scipy.stats import binomtest

    if not np.isin([own, base], (0.0, 1.0)).all():
        return None
    n_changed = int((own != base).sum())
    return float(binomtest(int((own > base).sum()), n_changed).pvalue) if n_changed else 1.0


def _two_sided(differences: Array) -> float:
    """Double the share of resamples beyond 0; the observed data count as one more resample."""
    n_beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (n_beyond + 1) / (len(differences) + 1))


def _retention(own: Array, base: Array, drawn: Array, bootstrap: Bootstrap) -> dict[str, Any]:
    if base.mean() <= 0 or drawn[:, 2].min() <= 0:
        return {"retention": None, "retention_interval": None}
    return {
        "retention": float(own.mean() / base.mean()),
        "retention_interval": bootstrap.interval(drawn[:, 1] / drawn[:, 2]),
    }
