"""Sensitivities: what the model loses when one cell alone uses fewer experts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.tuning.cells import Cell


@dataclass(frozen=True)
class Loss:
    """A loss against the published model, in nats per token of an answer.

    It is the Kullback-Leibler divergence of the distribution of the next token from that of the
    published model, averaged over the tokens of each answer, over the answers of each question, and
    then over questions.
    """

    by_prompt: NDArray[np.float64]
    """Loss of each question, (questions,): the mean over its prompts, of which most have one."""

    @property
    def mean(self) -> float:
        """Mean over questions."""
        return float(self.by_prompt.mean())

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; ``None`` for one question."""
        n = len(self.by_prompt)
        return float(self.by_prompt.std(ddof=1) / n**0.5) if n > 1 else None


@dataclass(frozen=True)
class Sensitivities:
    """The loss at each smaller k in each cell, all other cells at the published k."""

    baseline: int
    """The published k."""
    losses: Mapping[tuple[Cell, int], Loss]
    """Loss by cell and k; every cell has the same k, all below ``baseline``."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in their order."""
        return tuple(dict.fromkeys(cell for cell, _ in self.losses))

    @property
    def ks(self) -> tuple[int, ...]:
        """The k of every cell from small to large, ``baseline`` included."""
        return (*sorted({k for _, k in self.losses}), self.baseline)

    def mean(self, cell: Cell, k: int) -> float:
        """Return the mean loss; 0 at the published k."""
        return 0.0 if k == self.baseline else self.losses[cell, k].mean

    @property
    def rows(self) -> tuple[dict[str | int, Any], ...]:
        """The mean losses by k of each cell, with four digits, as files of schedules have them."""
        return tuple(
            {
                **{name: value for name, value in asdict(cell).items() if value is not None},
                **{k: float(f"{self.mean(cell, k):.4g}") for k in self.ks if k != self.baseline},
            }
            for cell in self.cells
        )
