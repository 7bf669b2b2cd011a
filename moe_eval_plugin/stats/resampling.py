"""Resample scores with the cluster bootstrap: whole images, with all of their questions.

Questions about one image succeed and fail together, so they are not independent draws; images are.
A data set is resampled by drawing as many clusters as it has, with replacement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95
# Beyond it, sums of squares of the scores of a large task are no floating-point numbers.
LARGEST_SCORE = 1e100
N_RESAMPLES = 10_000
MIN_RESAMPLES = 2
# Cells of the table of counts that is held in memory at a time: 32 MB.
BLOCK_CELLS = 4_000_000
# A draw of how often a row occurs takes about this many times as long as that of one cluster.
COST_OF_A_COUNT = 8
# Sums of the same scores in another order differ in their last digits, and would count as others.
DECIMALS = 9


@dataclass(frozen=True)
class Interval:
    """A confidence interval; ``confidence`` is a share, 0.95 for instance."""

    low: float
    high: float
    confidence: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside; the ends belong to the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Bootstrap:
    """Settings of the bootstrap. The same seed gives the same interval."""

    confidence: float = CONFIDENCE
    n_resamples: int = N_RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for impossible settings."""
        if not 0 < self.confidence < 1:
            message = (
                f"confidence={self.confidence} is not possible. Use a share, 0.95 for example."
            )
            raise InvalidArgumentError(message)
        if self.n_resamples < MIN_RESAMPLES:
            message = f"n_resamples={self.n_resamples} is not possible. Use 1000 or more."
            raise InvalidArgumentError(message)

    def interval(self, values: Array, confidence: float | None = None) -> Interval:
        """Return the percentile interval of resampled values."""
        import numpy as np

        share = self.confidence if confidence is None else confidence
        low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
        return Interval(float(low), float(high), share)

    def sums(self, rows: Array) -> Array:
        """Return the sums of resampled rows, ``[n_resamples, n_columns]``.

        ``rows`` are those of the clusters, ``[n_clusters, n_columns]``. Equal rows are merged into
        one that is drawn more often: the result has the same distribution, and scores repeat so
        much that there are far fewer different rows than clusters.
        """
        import numpy as np

        distinct, counts = np.unique(rows.round(DECIMALS), axis=0, return_counts=True)
        if len(distinct) * COST_OF_A_COUNT > len(rows):
            distinct, counts = rows, np.ones(len(rows), dtype=np.int64)
        generator = np.random.default_rng(self.seed)
        blocks = [drawn @ distinct for drawn in self._counts(counts, generator)]
        return np.concatenate(blocks)

    def _counts(self, counts: NDArray[np.int64], generator: np.random.Generator) -> Iterator[Array]:
        """Yield how often each row occurs, in blocks of ``[n_in_block, n_rows]``."""
        import numpy as np

        n_rows, n_clusters = len(counts), int(counts.sum())
        n_in_block = max(1, BLOCK_CELLS // n_rows)
        for start in range(0, self.n_resamples, n_in_block):
            n = min(n_in_block, self.n_resamples - start)
            if n_rows < n_clusters:
                drawn = generator.multinomial(n_clusters, counts / n_clusters, size=n)
            else:
                drawn = np.stack(
                    [
                        np.bincount(generator.integers(n_rows, size=n_rows), minlength=n_rows)
                        for _ in range(n)
                    ]
                )
            yield drawn.astype(np.float64)


def as_scores(values: ArrayLike) -> Array:
    """Return an array of scores, one per question.

    Raises ``DataError`` unless all are finite, and none is so large that its square is not.
    """
    import numpy as np

    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        message = (
            f"Scores of shape {scores.shape} are not a list of finite numbers. Pass one finite "
            "score for each question, and at least one question."
        )
        raise DataError(message)
    largest = float(np.abs(scores).max())
    if largest > LARGEST_SCORE:
        message = (
            f"A score of {largest:g} cannot be that of a question: the largest that is read is "
            f"{LARGEST_SCORE:g}. Use the samples file as it was written, or run the task again."
        )
        raise DataError(message)
    return scores


def cluster_codes(clusters: Sequence[Any] | None, n_questions: int) -> NDArray[np.int64]:
    """Return the cluster number of each question; without clusters each is its own."""
    import numpy as np

    if clusters is None:
        return np.arange(n_questions)
    if len(clusters) != n_questions:
        message = f"{len(clusters)} clusters for {n_questions} questions: pass one for each."
        raise DataError(message)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return np.fromiter((numbers[name] for name in clusters), np.int64, n_questions)


def cluster_rows(columns: Sequence[Array], codes: NDArray[np.int64]) -> Array:
    """Return sums by cluster, ``[n_clusters, 1 + n_columns]``: number of questions, columns."""
    import numpy as np

    sums = [np.bincount(codes), *(np.bincount(codes, weights=column) for column in columns)]
    return np.column_stack(sums).astype(np.float64)
