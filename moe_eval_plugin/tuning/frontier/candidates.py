"""The schedules whose joint loss is worth measuring at each target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.tuning.search import best_choices, resampled_choices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.tuning.cells import Ks
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.search import FoundChoice
    from moe_eval_plugin.tuning.sensitivities import Sensitivities

N_BEST = 8
N_RESAMPLED = 4
N_RESAMPLES = 50


@dataclass(frozen=True)
class Candidates:
    """What may be chosen at one target; choices are the k of the cells of the prices, in order."""

    target: float
    """The largest price allowed, as a share of the published model's."""
    budget: int
    """The same in steps of the prices, for the cells alone."""
    best: tuple[FoundChoice, ...]
    """The choices of least predicted loss, the best one first."""
    shares: Mapping[Ks, float]
    """In which share of resamples of the prompts each choice is the best one."""
    uniform_k: int | None
    """The largest k that is affordable everywhere."""

    def ks(self, n_cells: int) -> list[Ks]:
        """Return the choices to measure, each once: the best ones, others, and the uniform k."""
        by_share = sorted(self.shares, key=lambda ks: -self.shares[ks])
        uniform = [] if self.uniform_k is None else [(self.uniform_k,) * n_cells]
        found = [*(one.ks for one in self.best), *by_share[:N_RESAMPLED], *uniform]
        return list(dict.fromkeys(found))


def find_candidates(
    sensitivities: Sensitivities, prices: Prices, targets: Sequence[float], seed: int = 0
) -> list[Candidates]:
    """Return what may be chosen at each target: what the search finds, and the uniform k.

    Raises ``InvalidArgumentError`` for a target below the least possible price.
    """
    budgets = [prices.budget(target) for target in targets]
    best = best_choices(sensitivities, prices, budgets, N_BEST)
    counts = resampled_choices(sensitivities, prices, budgets, N_RESAMPLES, seed)
    return [
        Candidates(
            target,
            budget,
            tuple(found),
            {ks: n / N_RESAMPLES for ks, n in counter.items()},
            prices.uniform_k(target),
        )
        for target, budget, found, counter in zip(targets, budgets, best, counts, strict=True)
    ]
