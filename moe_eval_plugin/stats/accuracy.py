"""The mean score of a run, of its groups of questions, and of several seeds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

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

USUAL = Bootstrap()
UNIT_BOUNDS = (0.0, 1.0)


@dataclass(frozen=True)
class Accuracy:
    """A mean score with its interval, over questions that lie in clusters (images)."""

    value: float
    interval: Interval
    n_questions: int
    n_clusters: int

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PooledSeeds:
    """The runs of several seeds as one: ``scores`` has the mean over seeds for each question.

    ``means`` has the score of each seed. The interval of ``accuracy(scores)`` covers the choice
    of questions and the chance in each answer, not a fault that all answers of a seed share;
    ``spread``, the standard deviation of the means, shows that. It is ``None`` for one seed.
    """

    scores: tuple[float, ...]
    means: tuple[float, ...]
    spread: float | None


def accuracy(
    scores: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    bounds: tuple[float, float] = UNIT_BOUNDS,
    bootstrap: Bootstrap = USUAL,
) -> Accuracy:
    """Take the mean of the scores, with a percentile interval of the cluster bootstrap.

    Args:
        scores: One for each question.
        clusters: The image of each question; without it, each question is a cluster of its own.
        bounds: The least and the largest score that a question can have.
        bootstrap: How to resample.

    Where all answers are right, resamples are too, and the interval would have no width. So two
    questions of the least and two of the largest score join the resamples, not the value (Agresti
    and Coull 1998, doi:10.1080/00031305.1998.10480550).
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
    """Average the scores of several seeds question by question.

    Each run has the same questions in the same order. Questions stay the unit: ten seeds of one
    question are no ten questions, and to string them together would make intervals too narrow.
    """
    import numpy as np

    scores = [as_scores(run) for run in runs]
    sizes = {len(run) for run in scores}
    if len(sizes) != 1:
        message = (
            f"{len(scores)} runs with {sorted(sizes)} questions cannot be pooled. Give one or more "
            "runs over the same questions."
        )
        raise DataError(message)
    table = np.stack(scores)
    means = table.mean(axis=1)
    return PooledSeeds(
        scores=tuple(table.mean(axis=0).tolist()),
        means=tuple(means.tolist()),
        spread=float(means.std(ddof=1)) if len(means) > 1 else None,
    )
