"""Saturation: how far two checkpoints choose the same experts for the same tokens.

The definition is the one of FLAME-MoE, whose scripts compare each checkpoint with the last one
(``scripts/empirical_analysis/modules/router_saturation_step2.py``, arXiv 2505.20225; after OLMoE,
arXiv 2409.02060): the mean over tokens of the share of the first k experts that are
the same. It does not depend on the order among the k. Intervals and the level of
chance are added here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.tables import Saturation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.trace import LayerTrace
    from moe_eval_plugin.stats.resampling import Interval

# Those of FLAME-MoE; the published k is added to them.
SATURATION_KS = (1, 2, 4, 6)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of the choices of two traces, for the tokens that reached one layer in both."""

    ks: tuple[int, ...]
    is_known: NDArray[np.bool_]
    """Whether a row of the layer is in both traces, ``(rows,)``."""
    values: NDArray[np.float64]
    """Share of the first k experts that are the same, ``(rows, len(ks))``; any if not in both."""
    num_choices: int
    first: NDArray[np.int16]
    """Experts of the layer in the first trace, ``(rows, width)``."""
    second: NDArray[np.int16]
    """Experts of the same rows in the second one; any where a row is not in both."""

    def table(
        self, mask: NDArray[np.bool_], intervals: Sequence[Interval | None]
    ) -> tuple[Saturation, ...] | None:
        """Return the saturation of the rows where ``mask`` is true; ``None`` if none is in both.

        ``intervals`` has those of the mean overlap, for each k.
        """
        kept = mask & self.is_known
        if not kept.any():
            return None
        means = self.values[kept].mean(axis=0)
        return tuple(
            Saturation(k, int(kept.sum()), float(mean), interval, self._chance(kept, k))
            for k, mean, interval in zip(self.ks, means, intervals, strict=True)
        )

    def _chance(self, kept: NDArray[np.bool_], k: int) -> float:
        """Return ``sum_e a_e b_e / k``, with ``a_e`` and ``b_e`` the shares of tokens on expert e.

        It is the expected overlap of two routers that have these loads, and choose independently.
        """
        import numpy as np

        a, b = (
            np.bincount(experts[kept, :k].ravel(), minlength=self.num_choices) / kept.sum()
            for experts in (self.first, self.second)
        )
        return float(a @ b / k)


def overlap_of(layer: LayerTrace, other: LayerTrace, rows: NDArray[np.int64]) -> Overlap:
    """Return the overlap of one layer in two traces.

    ``rows`` has the row of ``other`` for each row of ``layer``, -1 where it has none. The values of
    k are 1, 2, 4, 6 and the published k, as far as both layers choose that many.
    """
    import numpy as np

    largest = min(layer.published_k, other.published_k)
    ks = tuple(sorted(k for k in {*SATURATION_KS, largest} if k <= largest))
    is_known = rows >= 0
    first = layer.experts[:, :largest]
    second = np.zeros_like(first)
    second[is_known] = other.experts[rows[is_known], :largest]
    # The same ids at positions i and j: the first k of both have those with i and j below k.
    same = first[:, :, None] == second[:, None, :]
    values = np.stack([same[:, :k, :k].sum(axis=(1, 2)) / k for k in ks], axis=1)
    return Overlap(ks, is_known, values, layer.num_choices, first, second)
