"""Statistics of the router's scores: margins between experts, and the mass that k experts have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.means import spread_of
from moe_eval_plugin.routing.statistics.tables import Margin, Mass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.trace import LayerTrace
    from moe_eval_plugin.stats.resampling import Interval


def margins_of(layer: LayerTrace, mask: NDArray[np.bool_]) -> tuple[Margin, ...] | None:
    """Return the margins ``p_k - p_(k+1)`` of some rows, for k from 1 to the published k.

    Both are scores before any renormalisation, in the order in which the router prefers experts.
    A router that adds a bias may prefer the expert of the smaller score: its margin is below 0.
    The last k is left out where the trace has no expert after it. ``None`` without scores.
    """
    import numpy as np

    if layer.scores is None:
        return None
    last = min(layer.published_k, layer.width - 1)
    scores = layer.scores[mask]
    differences = scores[:, :last] - scores[:, 1 : last + 1]
    return tuple(
        Margin(k, spread_of(column), float(np.median(column)))
        for k, column in enumerate(differences.T, start=1)
    )


@dataclass(frozen=True, eq=False)
class TokenMass:
    """Mass of the first k experts of each token, for k from 1 to the published k."""

    values: NDArray[np.float64]
    """Score of the first k over that of the published k's, ``(rows, published_k)``.

    NaN for a token whose scores are all 0.
    """
    of_all: NDArray[np.float64] | None
    """Share of all experts' probability, of the same shape; ``None`` where these sum to no 1."""

    @cached_property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether the scores of a token are not all 0, ``(rows,)``."""
        import numpy as np

        return ~np.isnan(self.values[:, -1])

    def table(
        self, mask: NDArray[np.bool_], intervals: Sequence[Interval | None]
    ) -> tuple[Mass, ...] | None:
        """Return the mass at each k of the rows where ``mask`` is true; ``None`` without any.

        ``intervals`` has those of the mean retained mass, for each k.
        """
        kept = mask & self.is_known
        if not kept.any():
            return None
        of_all = None if self.of_all is None else self.of_all[kept].mean(axis=0)
        return tuple(
            Mass(
                k=number + 1,
                retained=spread_of(column),
                interval=intervals[number],
                of_all=None if of_all is None else float(of_all[number]),
            )
            for number, column in enumerate(self.values[kept].T)
        )


def token_mass(layer: LayerTrace) -> TokenMass | None:
    """Return the mass of the first k experts of each row of a layer; ``None`` without scores."""
    import numpy as np

    if layer.scores is None:
        return None
    sums = layer.scores[:, : layer.published_k].cumsum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        retained = sums / sums[:, -1:]
    return TokenMass(retained, sums if layer.scores_sum_to_one else None)
