"""Prices: what each cell costs at each k, and a target as a share of the published model's price.

The price of a choice is the sum of the prices of its cells and of ``fixed``, which no k changes.
The prices of cells are whole numbers of some step, so that sums and comparisons are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.schedules.tuning_record import Unit
    from moe_eval_plugin.stats.speed import Spread
    from moe_eval_plugin.tuning.cells import Cell, Choice

UNIT_NAMES: Mapping[Unit, str] = {
    "experts": "routed experts per token",
    "flops": "FLOPs of the language model",
    "time": "time of a pass",
}


@dataclass(frozen=True)
class Prices:
    """The price of each cell at each k, and the rest of the model's."""

    unit: Unit
    """What is counted."""
    baseline: int
    """The published k."""
    by_cell: Mapping[tuple[Cell, int], int]
    """Price by cell and k, ``baseline`` included, in whole steps; every cell has the same k."""
    fixed: float = 0.0
    """What k does not change, in the same steps."""
    step: float = 1.0
    """What a step is: a number of experts or of FLOPs, or seconds."""
    spreads: Mapping[tuple[Cell, int], Spread] = field(default_factory=dict)
    """Seconds of the blocks in which each cell was timed; empty for what is counted."""
    notes: tuple[str, ...] = ()
    """What a reader must know of measured prices."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in their order."""
        return tuple(dict.fromkeys(cell for cell, _ in self.by_cell))

    @property
    def ks(self) -> tuple[int, ...]:
        """The k of every cell, from small to large."""
        return tuple(sorted({k for _, k in self.by_cell}))

    @property
    def published(self) -> float:
        """Price of the published model, in steps."""
        return self.fixed + self.steps(self.uniform(self.baseline))

    def uniform(self, k: int) -> dict[Cell, int]:
        """Return the choice of one k for all cells."""
        return dict.fromkeys(self.cells, k)

    def steps(self, choice: Choice) -> int:
        """Return the price of the cells of a choice, in steps."""
        return sum(self.by_cell[cell, k] for cell, k in choice.items())

    def share(self, choice: Choice) -> float:
        """Return the price of a choice as a share of the published model's."""
        return (self.fixed + self.steps(choice)) / self.published

    @property
    def least(self) -> float:
        """The least possible price, as a share of the published model's."""
        cheapest = {cell: min(self.ks, key=lambda k: self.by_cell[cell, k]) for cell in self.cells}
        return self.share(cheapest)

    def budget(self, target: float) -> int:
        """Return the most steps that the cells may cost at a target, as its decimal digits say it.

        Raises ``InvalidArgumentError`` for a target below the least possible price.
        """
        allowed = Fraction(str(target)) * Fraction(self.published) - Fraction(self.fixed)
        found = math.floor(allowed)
        if found < sum(min(self.by_cell[cell, k] for k in self.ks) for cell in self.cells):
            message = (
                f"--target {target:g} is not possible: with k={self.ks[0]} in every layer the "
                f"model costs {self.least:.4g} of the {UNIT_NAMES[self.unit]} of the published "
                f"one, because the rest does not depend on k. Use {shown_target(self.least):g} "
                "or more."
            )
            raise InvalidArgumentError(message)
        return found

    def routed_share(self, target: float) -> float:
        """Return the share of what routed experts cost as published that a target leaves to them.

        Raises what ``budget`` raises.
        """
        return self.budget(target) / self.steps(self.uniform(self.baseline))

    def uniform_k(self, target: float) -> int | None:
        """Return the largest k that costs no more than a target everywhere; ``None`` if none."""
        budget = self.budget(target)
        fitting = [k for k in self.ks if self.steps(self.uniform(k)) <= budget]
        return max(fitting, default=None)


def shown_target(share: float) -> float:
    """Return a share with four digits behind the point, rounded up, so that it is affordable."""
    return math.ceil(round(share * 10_000, 6)) / 10_000
