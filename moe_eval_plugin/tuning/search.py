"""Find the choices of k that lose least at a price, exactly.

It is a knapsack problem with several choices for each item (Kellerer, Pferschy and Pisinger 2004,
chapter 11): one k in each cell, the least sum of losses, and a sum of prices within a budget. It is
solved by dynamic programming over the cells. Of the choices for the first cells, only those are
kept that few others beat in loss and price at once, since whatever follows them adds the same to
all. Prices are whole numbers, and losses become whole numbers of 1e-12 nats, so sums are exact and
ties are ties. A solver of integer programs has tolerances instead: that of scipy stops within 1e-6
of the best loss, which is more than what many cells lose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from moe_eval_plugin.tuning.cells import Cell, Choice
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Sensitivities

    Integers = NDArray[np.int64]

LOSS_STEP = 1e-12


@dataclass(frozen=True)
class FoundChoice:
    """A choice of k, with what it is predicted to lose."""

    ks: tuple[int, ...]
    """The k of each cell, in the order of the prices' cells."""
    loss: float
    """Sum of the losses of its cells, in nats per token of an answer."""
    steps: int
    """Price of its cells, in steps of the prices."""

    def choice(self, cells: Sequence[Cell]) -> Choice:
        """Return the k by cell."""
        return dict(zip(cells, self.ks, strict=True))


def best_choices(
    sensitivities: Sensitivities, prices: Prices, budgets: Sequence[int], n: int = 1
) -> list[list[FoundChoice]]:
    """Return, for each budget in steps, the ``n`` choices of least loss; the cheaper one of a tie.

    There are fewer where fewer are affordable.
    """
    losses = np.array([[sensitivities.mean(c, k) for k in prices.ks] for c in prices.cells])
    return _search(losses, prices, budgets, n)


def resampled_choices(
    sensitivities: Sensitivities,
    prices: Prices,
    budgets: Sequence[int],
    n_resamples: int,
    seed: int = 0,
) -> list[Counter[tuple[int, ...]]]:
    """Return, for each budget, how often each choice is the best one of resampled prompts.

    A resample draws as many prompts as there are, with replacement. How often the same choice is
    the best shows how certain it is.
    """
    by_prompt = _losses_by_prompt(sensitivities, prices)
    n = by_prompt.shape[-1]
    random = np.random.default_rng(seed)
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in budgets]
    for _ in range(n_resamples):
        weights = random.multinomial(n, np.full(n, 1 / n)) / n
        found = _search(by_prompt @ weights, prices, budgets, 1)
        for counter, best in zip(counts, found, strict=True):
            counter.update(one.ks for one in best)
    return counts


def _losses_by_prompt(sensitivities: Sensitivities, prices: Prices) -> NDArray[np.float64]:
    """Return the losses, (cells, ks, prompts), with 0 at the published k."""
    n = len(next(iter(sensitivities.losses.values())).by_prompt)
    none = np.zeros(n)
    losses: Mapping[tuple[Cell, int], NDArray[np.float64]] = {
        key: loss.by_prompt for key, loss in sensitivities.losses.items()
    }
    return np.array([[losses.get((cell, k), none) for k in prices.ks] for cell in prices.cells])


def _search(
    losses: NDArray[np.float64], prices: Prices, budgets: Sequence[int], n: int
) -> list[list[FoundChoice]]:
    exact = np.rint(losses / LOSS_STEP).astype(np.int64)
    steps = np.array([[prices.by_cell[cell, k] for k in prices.ks] for cell in prices.cells])
    # What the cells after each one cost at least.
    rest = np.append(np.cumsum(steps.min(axis=1)[::-1])[::-1][1:], 0)
    price, loss = np.zeros(1, np.int64), np.zeros(1, np.int64)
    ways: list[tuple[Integers, Integers]] = []
    for of_cell, its_losses, still in zip(steps, exact, rest, strict=True):
        all_prices = (price[:, None] + of_cell).ravel()
        all_losses = (loss[:, None] + its_losses).ravel()
        kept = _few_better(all_prices, all_losses, max(budgets) - still, n)
        price, loss = all_prices[kept], all_losses[kept]
        ways.append(np.divmod(kept, len(of_cell)))
    order = np.lexsort((price, loss))
    return [
        [
            FoundChoice(_ks(ways, end, prices.ks), int(loss[end]) * LOSS_STEP, int(price[end]))
            for end in order[price[order] <= budget][:n]
        ]
        for budget in budgets
    ]


def _few_better(price: Integers, loss: Integers, budget: int, n: int) -> Integers:
    """Return the numbers of all entries within the budget that fewer than ``n`` others beat.

    Another entry beats one where it costs and loses no more. The entries that none beats are taken
    off ``n`` times: what is left then is beaten by at least ``n``.
    """
    left = np.lexsort((loss, price))
    left = left[price[left] <= budget]
    kept = []
    for _ in range(n):
        if not left.size:
            break
        least = np.minimum.accumulate(loss[left])
        is_beaten = np.append(False, loss[left][1:] >= least[:-1])
        kept.append(left[~is_beaten])
        left = left[is_beaten]
    return np.concatenate(kept) if kept else left


def _ks(ways: Sequence[tuple[Integers, Integers]], end: int, ks: Sequence[int]) -> tuple[int, ...]:
    """Return the k of each cell of a choice, from the last cell back."""
    found = []
    for before, chosen in reversed(ways):
        found.append(ks[chosen[end]])
        end = before[end]
    return tuple(reversed(found))
