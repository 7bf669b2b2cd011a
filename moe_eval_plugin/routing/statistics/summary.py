"""Means over the layers of a trace: retained mass and saturation, for each group of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.means import table_of
from moe_eval_plugin.routing.statistics.scores import TokenMass
from moe_eval_plugin.routing.statistics.tables import GroupSummary, Saturation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.statistics.groups import GroupTokens
    from moe_eval_plugin.routing.statistics.options import StudyOptions
    from moe_eval_plugin.routing.statistics.saturation import Overlap
    from moe_eval_plugin.routing.statistics.tables import LayerStudy
    from moe_eval_plugin.stats.resampling import Interval

    Array = NDArray[np.float64]


class LayerMeans:
    """Means over layers of the retained mass and the overlap of each token.

    The mean of a token is that over the layers that it reached.
    """

    def __init__(self, n_tokens: int) -> None:
        self._retained = _TokenMeans(n_tokens)
        self._of_all = _TokenMeans(n_tokens)
        self._overlap = _TokenMeans(n_tokens)
        self._ks: tuple[int, ...] = ()

    def add(self, rows: NDArray[np.int64], mass: TokenMass | None, overlap: Overlap | None) -> None:
        """Add a layer; ``rows`` are those in the trace of the layer's own rows."""
        if mass is not None:
            kept = mass.is_known
            self._retained.add(rows[kept], mass.values[kept])
            if mass.of_all is not None:
                self._of_all.add(rows[kept], mass.of_all[kept])
        if overlap is not None:
            kept = overlap.is_known
            self._ks = overlap.ks
            self._overlap.add(rows[kept], overlap.values[kept])

    def mass(self) -> TokenMass | None:
        """Return the mean mass of each token; ``None`` without scores, or where k differs."""
        retained = self._retained.means()
        if retained is None:
            return None
        has_all = self._of_all.n_layers == self._retained.n_layers
        return TokenMass(retained, self._of_all.means() if has_all else None)

    def overlap(self) -> tuple[tuple[int, ...], Array] | None:
        """Return the values of k and the mean overlap of each token, ``(n_tokens, n_k)``.

        NaN for a token that is not in both traces; ``None`` without another trace.
        """
        means = self._overlap.means()
        return None if means is None else (self._ks, means)


def summary(
    means: LayerMeans,
    layers: Sequence[LayerStudy],
    groups: Sequence[GroupTokens],
    questions: NDArray[np.int64],
    options: StudyOptions,
) -> tuple[GroupSummary, ...]:
    """Return the means over layers of each group of tokens, with confidence intervals.

    ``questions`` has the number of each token's question; ``layers`` the level of chance of each
    layer.
    """
    import numpy as np

    mass, overlap = means.mass(), means.overlap()
    found = []
    for part in groups:
        of_group = None if overlap is None else _MeanOverlap(*overlap, _chance(layers, part))
        found.append(
            GroupSummary(
                group=part.group,
                n_tokens=int(part.mask.sum()),
                n_questions=len(np.unique(questions[part.mask])),
                mass=table_of(mass, part.mask, questions, options),
                saturation=table_of(of_group, part.mask, questions, options),
            )
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _MeanOverlap:
    """Mean overlap of each token over the layers, and the mean level of chance at each k."""

    ks: tuple[int, ...]
    values: Array
    chance: Sequence[float]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        import numpy as np

        return ~np.isnan(self.values[:, 0])

    def table(
        self, mask: NDArray[np.bool_], intervals: Sequence[Interval | None]
    ) -> tuple[Saturation, ...] | None:
        kept = mask & self.is_known
        if not kept.any():
            return None
        rows = zip(self.ks, self.values[kept].mean(axis=0), intervals, self.chance, strict=True)
        return tuple(
            Saturation(k, int(kept.sum()), float(mean), interval, chance)
            for k, mean, interval, chance in rows
        )


def _chance(layers: Sequence[LayerStudy], part: GroupTokens) -> list[float]:
    """Return the mean level of chance of a group over the layers, for each k."""
    tables = [
        entry.saturation
        for layer in layers
        for entry in layer.groups
        if entry.group == part.group and entry.saturation is not None
    ]
    return [fmean(row.chance for row in rows) for rows in zip(*tables, strict=True)]


class _TokenMeans:
    """Means over layers of an array that each layer has for its tokens, ``(rows, n_columns)``."""

    def __init__(self, n_tokens: int) -> None:
        import numpy as np

        self.n_layers = 0
        self._counts = np.zeros(n_tokens, dtype=np.int64)
        self._sums: Array | None = None
        self._is_even = True

    def add(self, rows: NDArray[np.int64], values: Array) -> None:
        import numpy as np

        self.n_layers += 1
        if self._sums is None:
            self._sums = np.zeros((len(self._counts), values.shape[1]))
        self._is_even = self._is_even and values.shape[1] == self._sums.shape[1]
        if self._is_even:
            self._sums[rows] += values
            self._counts[rows] += 1

    def means(self) -> Array | None:
        """Return the means, NaN for a token without layers; ``None`` without equal columns."""
        import numpy as np

        if self._sums is None or not self._is_even:
            return None
        with np.errstate(invalid="ignore"):
            means: Array = self._sums / self._counts[:, None]
        return means
