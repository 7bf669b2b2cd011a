"""A model of four layers whose joint losses are known, in place of passes over prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moe_eval_plugin.experts.description import MoEDescription
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.tuning.cells import cells_of
from moe_eval_plugin.tuning.prices.counted import expert_prices
from moe_eval_plugin.tuning.prices.lengths import PromptLengths
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

N_LAYERS, BASELINE = 4, 4
CELLS = cells_of(range(N_LAYERS), "layer")
LENGTHS = PromptLengths(*(np.array([n, n]) for n in (10, 0, 0)))
PRICES = expert_prices(CELLS, (1, 2, 3), BASELINE, LENGTHS)
WEIGHTS = np.array([4.0, 2.0, 1.0, 0.5])


def description(published: int, least: int = 1) -> MoEDescription:
    return MoEDescription(
        "tiny",
        is_moe=True,
        num_experts=64,
        num_experts_per_tok=published,
        num_shared_experts=0,
        num_zero_experts=0,
        norm_topk_prob=None,
        min_num_experts_per_tok=least,
    )


def sensitivities() -> Sensitivities:
    """The first layer loses most; what each prompt loses differs a little."""
    losses = {
        (cell, k): Loss(WEIGHTS[cell.layer] * (BASELINE - k) ** 2 * np.array([0.9, 1.1]))
        for cell in CELLS
        for k in (1, 2, 3)
    }
    return Sensitivities(BASELINE, losses)


class Machine:
    """Measures joint losses: those of the cells, and more where neighbours are both lowered."""

    def __init__(self, interaction: float) -> None:
        self.interaction = interaction
        self.asked: list[str] = []

    def __call__(self, schedules: Sequence[str]) -> Mapping[str, Loss]:
        self.asked += schedules
        return {text: Loss(self.loss(text) * np.array([0.9, 1.1])) for text in schedules}

    def loss(self, text: str) -> float:
        schedule = parse_experts_k(text)
        assert schedule is not None
        resolved = schedule.resolve(description(BASELINE), range(N_LAYERS))
        lowered = np.array([4.0 - resolved.k_of(n, "text", "prefill") for n in range(N_LAYERS)])
        return float(WEIGHTS @ lowered**2 + self.interaction * (lowered[1:] @ lowered[:-1]))
