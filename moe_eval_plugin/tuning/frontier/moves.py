"""Moves from a choice of k: more experts in one cell, paid for by fewer in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from moe_eval_plugin.tuning.cells import Ks
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Sensitivities

N_MOVES = 4


def moves_from(
    ks: Ks, budget: int, prices: Prices, sensitivities: Sensitivities, measured: Container[Ks]
) -> list[Ks]:
    """Return a few choices to measure next, which differ from ``ks`` by one move each.

    A move takes the next larger k in one cell, and where the budget needs it the next smaller one
    in another. Of those that were not measured yet, the ones of least predicted loss are returned.
    """
    found: dict[Ks, float] = {}
    for moved in _moves(ks, prices):
        choice = dict(zip(prices.cells, moved, strict=True))
        if moved not in measured and prices.steps(choice) <= budget:
            found[moved] = sum(sensitivities.mean(cell, k) for cell, k in choice.items())
    return sorted(found, key=lambda one: found[one])[:N_MOVES]


def _moves(ks: Ks, prices: Prices) -> Iterator[Ks]:
    larger = dict(zip(prices.ks, prices.ks[1:], strict=False))
    smaller = {k: one for one, k in larger.items()}
    for raised, k in enumerate(ks):
        if k not in larger:
            continue
        up = (*ks[:raised], larger[k], *ks[raised + 1 :])
        yield up
        for lowered, other in enumerate(ks):
            if lowered != raised and other in smaller:
                yield (*up[:lowered], smaller[other], *up[lowered + 1 :])
