"""The search finds what trying every choice finds, whatever the losses and prices are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.tuning.cells import Cell, cells_of
from moe_eval_plugin.tuning.prices.prices import Prices
from moe_eval_plugin.tuning.search import LOSS_STEP, best_choices, resampled_choices
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities

if TYPE_CHECKING:
    from collections.abc import Mapping


def problem(
    losses: Mapping[tuple[Cell, int], list[float]], steps: Mapping[tuple[Cell, int], int]
) -> tuple[Sensitivities, Prices]:
    baseline = max(k for _, k in steps)
    by_cell = {key: Loss(np.array(values)) for key, values in losses.items()}
    return Sensitivities(baseline, by_cell), Prices("experts", baseline, steps)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Sensitivities, Prices, int]:
    """Small problems: few values, so that ties are common; zero and negative losses; any prices."""
    cells = cells_of(range(draw(st.integers(1, 4))), "layer")
    ks = range(1, draw(st.integers(1, 3)) + 1)
    value = st.sampled_from([0.0, -0.001, 0.25, 0.5, 0.75]) | st.floats(-0.0625, 2)
    losses = {(cell, k): [draw(value)] for cell in cells for k in ks}
    step = st.integers(0, 4) | st.integers(0, 1000)
    steps = {(cell, k): draw(step) for cell in cells for k in (*ks, len(ks) + 1)}
    least = sum(min(steps[cell, k] for k in (*ks, len(ks) + 1)) for cell in cells)
    return (*problem(losses, steps), least + draw(st.integers(0, 1200)))


def brute_force(sensitivities: Sensitivities, prices: Prices, budget: int) -> list[tuple[int, int]]:
    """Return loss in steps and price of every affordable choice, the best first."""
    found = []
    for ks in itertools.product(prices.ks, repeat=len(prices.cells)):
        choice = dict(zip(prices.cells, ks, strict=True))
        loss = sum(round(sensitivities.mean(cell, k) / LOSS_STEP) for cell, k in choice.items())
        if prices.steps(choice) <= budget:
            found.append((loss, prices.steps(choice)))
    return sorted(found)


@given(problems(), st.integers(1, 6))
def test_the_best_choices_are_those_of_brute_force(
    given_problem: tuple[Sensitivities, Prices, int], n: int
) -> None:
    sensitivities, prices, budget = given_problem
    (found,) = best_choices(sensitivities, prices, [budget], n)
    expected = brute_force(sensitivities, prices, budget)
    assert [(round(one.loss / LOSS_STEP), one.steps) for one in found] == expected[:n]
    assert len({one.ks for one in found}) == len(found)
    for one in found:
        choice = one.choice(prices.cells)
        assert prices.steps(choice) == one.steps <= budget
        predicted = sum(sensitivities.mean(cell, k) for cell, k in choice.items())
        assert one.loss == pytest.approx(predicted, abs=1e-9)


@given(problems())
def test_several_budgets_at_once_are_each_one_alone(
    given_problem: tuple[Sensitivities, Prices, int],
) -> None:
    sensitivities, prices, budget = given_problem
    least = budget - 1200 if budget > 1200 else budget
    budgets = sorted({max(least, prices.steps(prices.uniform(1)) % (budget + 1)), budget})
    together = best_choices(sensitivities, prices, budgets, 3)
    alone = [best_choices(sensitivities, prices, [one], 3)[0] for one in budgets]
    values = [
        [[(one.loss, one.steps) for one in best] for best in run] for run in (together, alone)
    ]
    assert values[0] == values[1]


def test_resamples_agree_where_prompts_do_and_differ_where_they_do_not() -> None:
    one, other = cells_of([0, 1], "layer")
    steps = {(cell, k): k for cell in (one, other) for k in (1, 2)}
    certain = problem({(one, 1): [0.0, 0.0, 0.1], (other, 1): [1.0, 2.0, 3.0]}, steps)
    (counts,) = resampled_choices(*certain, [3], 50)
    assert counts == {(1, 2): 50}
    uncertain = problem({(one, 1): [0.0, 2.0], (other, 1): [1.0, 1.1]}, steps)
    (counts,) = resampled_choices(*uncertain, [3], 50)
    assert set(counts) == {(1, 2), (2, 1)}
    assert counts.total() == 50


def test_a_large_model_is_searched_without_trying_all() -> None:
    """Unequal prices of 48 cells, 8 to the 48th choices: what is kept does not grow like that."""
    random = np.random.default_rng(0)
    cells = cells_of(range(24), "modality")
    losses = {
        (cell, k): [float(random.exponential(0.01) * (8 - k) ** 2)]
        for cell in cells
        for k in range(1, 8)
    }
    weight = {"text": 12_347, "image": 45_678}
    steps = {(cell, k): k * weight[str(cell.modality)] for cell in cells for k in range(1, 9)}
    sensitivities, prices = problem(losses, steps)
    (found,) = best_choices(sensitivities, prices, [prices.budget(0.5)], 5)
    assert len(found) == 5
    assert prices.share(found[0].choice(cells)) <= 0.5
