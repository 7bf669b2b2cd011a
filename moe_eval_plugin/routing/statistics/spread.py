"""Mean and percentiles of a number that each token has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.routing.statistics.tables import Spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOW, HIGH = 0.1, 0.9


def spread_of(values: NDArray[Any]) -> Spread:
    """Return the mean, the 10th and the 90th percentile of one or more values, ``(n,)``."""
    import numpy as np

    low, high = np.quantile(values, [LOW, HIGH])
    return Spread(float(values.mean(dtype=np.float64)), float(low), float(high))
