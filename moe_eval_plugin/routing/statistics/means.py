"""Means over tokens: percentiles, and confidence intervals by resampling the questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moe_eval_plugin.routing.statistics.tables import Spread
from moe_eval_plugin.stats.resampling import cluster_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.statistics.options import StudyOptions
    from moe_eval_plugin.stats.resampling import Interval

LOW, HIGH = 0.1, 0.9
Row_co = TypeVar("Row_co", covariant=True)


def spread_of(values: NDArray[Any]) -> Spread:
    """Return the mean, the 10th and the 90th percentile of one or more values, ``(n,)``."""
    import numpy as np

    low, high = np.quantile(values, [LOW, HIGH])
    return Spread(float(values.mean(dtype=np.float64)), float(low), float(high))


class TokenValues(Protocol[Row_co]):
    """Numbers that each token has, for several k."""

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers, ``(rows, n_k)``."""

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether a token has them, ``(rows,)``."""

    def table(
        self, mask: NDArray[np.bool_], intervals: Sequence[Interval | None]
    ) -> tuple[Row_co, ...] | None:
        """Return a row for each k, about the tokens where ``mask`` is true."""


def table_of(
    found: TokenValues[Row_co] | None,
    mask: NDArray[np.bool_],
    questions: NDArray[np.int64],
    options: StudyOptions | None,
) -> tuple[Row_co, ...] | None:
    """Return the table of the tokens where ``mask`` is true, ``None`` without values.

    ``questions`` has the number of each token's question. Without ``options`` there are no
    confidence intervals.
    """
    if found is None:
        return None
    intervals: tuple[Interval | None, ...] = (None,) * found.values.shape[1]
    kept = mask & found.is_known
    if options is not None and kept.any():
        intervals = mean_intervals(found.values[kept], questions[kept], options)
    return found.table(mask, intervals)


def mean_intervals(
    values: NDArray[np.float64], questions: NDArray[np.int64], options: StudyOptions
) -> tuple[Interval | None, ...]:
    """Return an interval of the mean of each column of ``values``, ``(n_tokens, n_columns)``.

    ``questions`` has the number of each token's question. Tokens of a question share its text, so
    whole questions are drawn with replacement, and the mean is taken over the tokens drawn: the
    bootstrap of clusters of unequal size. ``None`` with fewer than
    ``options.min_interval_questions`` questions.
    """
    import numpy as np

    present, codes = np.unique(questions, return_inverse=True)
    if len(present) < options.min_interval_questions:
        return tuple(None for _ in values.T)
    sums = options.bootstrap.sums(cluster_rows(list(values.T), codes))
    means = sums[:, 1:] / sums[:, :1]
    intervals: list[Interval | None] = [options.bootstrap.interval(one) for one in means.T]
    return tuple(intervals)
