"""Measure what the search found, and choose the schedule of each target.

Losses of single cells do not add up, so the choice of least predicted loss need not be the best
one. The joint loss of a few candidates is measured instead, and that of moves from the best of
them. The uniform k is always among them, so that no choice is worse than it on these prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from moe_eval_plugin.tuning.cells import schedule_text
from moe_eval_plugin.tuning.frontier.candidates import find_candidates
from moe_eval_plugin.tuning.frontier.moves import moves_from
from moe_eval_plugin.tuning.frontier.point import FrontierPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.tuning.cells import Choice, Ks
    from moe_eval_plugin.tuning.frontier.candidates import Candidates
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities

N_ROUNDS = 2


class MeasureLosses(Protocol):
    """Measures the joint loss of schedules on the calibration prompts."""

    def __call__(self, schedules: Sequence[str]) -> Mapping[str, Loss]:
        """Return the loss of each schedule, given as text of ``experts_k``."""


@dataclass
class Measured:
    """The losses that were measured so far, by choice; each choice is measured once."""

    prices: Prices
    measure: MeasureLosses
    losses: dict[Ks, Loss] = field(default_factory=dict)

    def add(self, several: Sequence[Ks]) -> None:
        """Measure the choices that were not measured before."""
        new = [ks for ks in dict.fromkeys(several) if ks not in self.losses]
        if not new:
            return
        texts = {ks: self.text(ks) for ks in new}
        found = self.measure(list(texts.values()))
        self.losses.update({ks: found[text] for ks, text in texts.items()})

    def text(self, ks: Ks) -> str:
        """Return a choice as text of ``experts_k``."""
        return schedule_text(self.prices.cells, ks, self.prices.baseline)

    def choice(self, ks: Ks) -> Choice:
        """Return the k by cell."""
        return dict(zip(self.prices.cells, ks, strict=True))

    def steps(self, ks: Ks) -> int:
        """Return the price of the cells of a choice, in steps."""
        return self.prices.steps(self.choice(ks))

    def moves(self, budget: int, sensitivities: Sensitivities) -> list[Ks]:
        """Return the choices that are one move from the best one, and not measured yet."""
        best = self.best(budget)
        return moves_from(best, budget, self.prices, sensitivities, self.losses)

    def best(self, budget: int) -> Ks:
        """Return the choice of least loss within a budget, and the cheaper one of equals.

        All that were measured take part, for whichever target it was.
        """
        fitting = (ks for ks in self.losses if self.steps(ks) <= budget)
        return min(fitting, key=lambda ks: (self.losses[ks].mean, self.steps(ks)))


@dataclass(frozen=True)
class Frontier:
    """The chosen schedule of each target."""

    points: tuple[FrontierPoint, ...]
    """One for each target, from the dearest to the cheapest."""
    losses: Mapping[Ks, Loss]
    """Every choice that was measured, with its loss."""

    @property
    def n_tried(self) -> int:
        """Whole schedules whose loss was measured, over all targets."""
        return len(self.losses)


def find_frontier(
    sensitivities: Sensitivities,
    prices: Prices,
    targets: Sequence[float],
    measure: MeasureLosses,
    *,
    seed: int = 0,
    name: Callable[[float], str] = lambda target: f"tuned-{target:g}",
    n_rounds: int = N_ROUNDS,
) -> Frontier:
    """Return the schedule of least measured loss at each target.

    ``name`` names the schedule of a target. Raises ``InvalidArgumentError`` for a target below the
    least possible price, before anything is measured.
    """
    candidates = find_candidates(sensitivities, prices, targets, seed)
    measured = Measured(prices, measure)
    measured.add([ks for one in candidates for ks in one.ks(len(prices.cells))])
    for _ in range(n_rounds):
        before = len(measured.losses)
        measured.add([ks for one in candidates for ks in measured.moves(one.budget, sensitivities)])
        if len(measured.losses) == before:
            break
    points = tuple(_point(one, sensitivities, measured, name(one.target)) for one in candidates)
    return Frontier(points, measured.losses)


def _point(
    candidates: Candidates, sensitivities: Sensitivities, measured: Measured, name: str
) -> FrontierPoint:
    prices = measured.prices
    ks = measured.best(candidates.budget)
    choice = measured.choice(ks)
    uniform_k = candidates.uniform_k
    uniform = None if uniform_k is None else (uniform_k,) * len(ks)
    return FrontierPoint(
        target=candidates.target,
        name=name,
        experts_k=measured.text(ks),
        ks=ks,
        price=prices.share(choice),
        predicted_loss=sum(sensitivities.mean(cell, k) for cell, k in choice.items()),
        loss=measured.losses[ks],
        uniform_k=uniform_k,
        uniform_price=None if uniform is None else prices.share(measured.choice(uniform)),
        uniform_loss=None if uniform is None else measured.losses[uniform],
        n_candidates=sum(measured.steps(one) <= candidates.budget for one in measured.losses),
        share_of_resamples=candidates.shares.get(ks, 0.0),
    )
