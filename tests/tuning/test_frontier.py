"""The frontier measures what the search finds, and chooses by what was measured."""

from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.tuning.frontier.frontier import find_frontier
from moe_eval_plugin.tuning.frontier.targets import (
    check_share_of_experts,
    considered_ks,
    read_targets,
    uniform_targets,
)
from tests.tuning.known_losses import PRICES, Machine, description, sensitivities


def test_without_interactions_the_prediction_is_chosen_and_is_what_is_measured() -> None:
    machine = Machine(0)
    frontier = find_frontier(sensitivities(), PRICES, (0.75, 0.5), machine)
    assert [point.name for point in frontier.points] == ["tuned-0.75", "tuned-0.5"]
    for point in frontier.points:
        assert point.loss.mean == pytest.approx(point.predicted_loss)
        assert point.price <= point.target
        assert point.verdict == "better"
        assert point.share_of_resamples == 1
    assert frontier.points[1].ks[0] > frontier.points[1].ks[-1]
    assert len(set(machine.asked)) == len(machine.asked) == frontier.n_tried


def test_with_interactions_the_best_measured_one_is_chosen_and_never_worse_than_uniform() -> None:
    machine = Machine(30)
    frontier = find_frontier(sensitivities(), PRICES, (0.75, 0.5, 0.25), machine)
    for point in frontier.points:
        assert point.loss.mean == pytest.approx(machine.loss(point.experts_k))
        assert point.uniform_loss is not None
        assert point.loss.mean <= point.uniform_loss.mean
    last = frontier.points[-1]
    # With one expert everywhere there is nothing to choose.
    assert (last.experts_k, last.uniform_k, last.verdict) == ("1", 1, "not better")
    assert "3" in machine.asked
    assert "2" in machine.asked


def test_moves_find_what_the_search_does_not() -> None:
    machine = Machine(30)
    without = find_frontier(sensitivities(), PRICES, (0.7,), machine, n_rounds=0)
    more = find_frontier(sensitivities(), PRICES, (0.7,), Machine(30), n_rounds=3)
    assert more.n_tried > without.n_tried
    assert more.points[0].loss.mean <= without.points[0].loss.mean


def test_a_target_below_the_least_price_is_refused_with_the_least_one() -> None:
    machine = Machine(0)
    with pytest.raises(InvalidArgumentError, match=r"--target 0.2 is not .* Use 0.25 or more"):
        find_frontier(sensitivities(), PRICES, (0.5, 0.2), machine)
    assert not machine.asked
    with pytest.raises(InvalidArgumentError, match=r"Use 0.1667 or more"):
        check_share_of_experts([0.1], [1, 2], 6)
    check_share_of_experts([0.1667], [1, 2], 6)
    assert uniform_targets(PRICES) == (0.75, 0.5, 0.25)


def test_considered_k_lie_between_the_least_and_the_published_one() -> None:
    assert considered_ks(description(8)) == (1, 2, 3, 4, 5, 6, 7)
    assert considered_ks(description(22)) == (1, 4, 7, 10, 13, 16, 19)
    # 11 of 22 is the uniform k of a half; 0.35 allows 7, and 0.01 none.
    of_targets = considered_ks(description(22), targets=(0.999, 0.5, 0.35, 0.01))
    assert of_targets == (1, 4, 7, 10, 11, 13, 16, 19, 21)
    assert considered_ks(description(8), [4, 2], targets=(0.9,)) == (2, 4)
    assert considered_ks(description(3, least=2)) == (2,)
    assert considered_ks(description(8), [4, 2, 4]) == (2, 4)
    with pytest.raises(InvalidArgumentError, match="Use 1 to 7"):
        considered_ks(description(8), [8])
    with pytest.raises(InvalidArgumentError, match="nothing to choose"):
        considered_ks(description(1))
    assert read_targets([0.25, 0.5, 0.25]) == (0.5, 0.25)
    with pytest.raises(InvalidArgumentError, match="between 0 and 1"):
        read_targets([50])
