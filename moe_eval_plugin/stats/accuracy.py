"""Compute the mean score of a run with its interval, and pool the runs of several seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import (
    Bootstrap,
    Interval,
    as_scores,
    cluster_codes,
    cluster_rows,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike

DEFAULT_BOOTSTRAP = Bootstrap()
UNIT_BOUNDS = (0.0, 1.0)


def score_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of a score: 0 to 1, or that of its values where they leave this."""
    low, high = min(values), max(values)
    return UNIT_BOUNDS if low >= UNIT_BOUNDS[0] and high <= UNIT_BOUNDS[1] else (low, high)


def right_from(bounds: tuple[float, float]) -> float:
    """Return the score from which an answer counts as right: half of the points it can get."""
    return sum(bounds) / 2


@dataclass(frozen=True)
class Accuracy:
    """A mean score with its interval, over questions in clusters (images)."""

    value: float
    interval: Interval
    n_questions: int
    n_clusters: int


@dataclass(frozen=True)
class PooledSeeds:
    """The runs of several seeds, pooled by question.

    The interval of ``accuracy(scores)`` covers the choice of questions and the randomness of each
    answer, but no error that all answers of a seed share; ``spread`` shows that.
    """

    scores: tuple[float, ...]
    """Mean over seeds of each question's score."""
    means: tuple[float, ...]
    """Mean score of each seed."""
    spread: float | None
    """Standard deviation of the means; ``None`` for one seed."""


def accuracy(
    scores: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    bounds: tuple[float, float] = UNIT_BOUNDS,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> Accuracy:
    """Return the mean of the scores with a percentile interval of the cluster bootstrap.

    Args:
        scores: One for each question.
        clusters: The image of each question; without it, each question is its own cluster.
        bounds: The smallest and the largest possible score of a question.
        bootstrap: How to resample.

    If all answers are right, so are those of all resamples, and the interval would have no width.
    So two questions with the smallest and two with the largest score are added to the resamples,
    but not to the value (Agresti and Coull 1998, doi:10.1080/00031305.1998.10480550). Raises
    ``DataError`` for scores that are not finite, and for clusters of another number.
    """
    import numpy as np

    values = as_scores(scores)
    rows = cluster_rows([values], cluster_codes(clusters, len(values)))
    made_up = [[1.0, bound] for bound in bounds for _ in range(2)]
    drawn = bootstrap.sums(np.vstack([rows, made_up]))
    return Accuracy(
        value=float(values.mean()),
        interval=bootstrap.interval(drawn[:, 1] / drawn[:, 0]),
        n_questions=len(values),
        n_clusters=len(rows),
    )


def pool_seeds(runs: Sequence[ArrayLike]) -> PooledSeeds:
    """Return the mean scores of several seeds, question by question.

    Each run has the same questions in the same order. Questions remain the unit: ten seeds of one
    question are not ten questions, and concatenating them would make intervals too narrow. Raises
    ``DataError`` for runs with different numbers of questions.
    """
    import numpy as np

    scores = [as_scores(run) for run in runs]
    sizes = {len(run) for run in scores}
    if len(sizes) != 1:
        message = (
            f"{len(scores)} runs with {sorted(sizes)} questions cannot be pooled. Pass one or "
            "more runs over the same questions."
        )
        raise DataError(message)
    table = np.stack(scores)
    means = table.mean(axis=1)
    return PooledSeeds(
        scores=tuple(table.mean(axis=0).tolist()),
        means=tuple(means.tolist()),
        spread=float(means.std(ddof=1)) if len(means) > 1 else None,
    )
