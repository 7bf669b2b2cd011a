from __future__ import annotations

from typing import Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.costs.cost_at_k import Scenario, costs_at_k, k_values
from moe_eval_plugin.models.costs.cost_model import LanguageModelCost, RoutedLayer
from moe_eval_plugin.models.parameters import ParameterCounts, RoutedParameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_length": 0}, "context=0"),
        ({"batch_sizes": (4, 0)}, "batch_sizes=4 0"),
        ({"batch_sizes": ()}, "batch_sizes=nothing"),
        ({"dtype": "int9"}, "dtype=int9"),
    ],
)
def test_impossible_scenario_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Scenario(**changes)


LAYER = RoutedLayer(num_experts=8, parameters_per_expert=100)
COST = LanguageModelCost(
    matrix_parameters=1000, head_parameters=200, routed_layers=(LAYER,), attentions=()
)
COUNTS = ParameterCounts(
    total=2000, routed=800, layers=(RoutedParameters("layers.0.mlp.experts", 8, 800, 100),)
)


def test_a_decode_step_has_bytes_from_all_agreeing_to_none_sharing_an_expert() -> None:
    scenario = Scenario(context_length=1, batch_sizes=(1, 2))
    (cost,) = costs_at_k(COUNTS, COST, [2], 4, scenario, bytes_per_number=2)
    one, two = cost.decode_steps
    assert (one.least_bytes, one.most_bytes) == (2 * 1400, 2 * 1400)
    assert (two.least_bytes, two.most_bytes) == (2 * 1400, 2 * 1600)
    assert one.speedup_ceiling == pytest.approx(1600 / 1400)
    assert cost.active_parameters == 1400


def test_above_the_baseline_there_is_no_ceiling() -> None:
    (cost,) = costs_at_k(COUNTS, COST, [8], 4, Scenario(batch_sizes=(1,)), bytes_per_number=2)
    assert cost.prefill_speedup_ceiling is cost.decode_steps[0].speedup_ceiling is None
    assert cost.decode_flops_per_token == 2 * (1200 + 800)


def test_without_sizes_and_data_type_costs_are_unknown_and_parameters_are_not() -> None:
    (cost,) = costs_at_k(COUNTS, None, [2], 4, Scenario(), bytes_per_number=2)
    assert (cost.active_parameters, cost.prefill_flops_per_token) == (1400, None)
    (cost,) = costs_at_k(COUNTS, COST, [2], 4, Scenario(batch_sizes=(1,)), bytes_per_number=None)
    assert cost.decode_steps[0].least_bytes is cost.decode_steps[0].most_bytes is None


@pytest.mark.parametrize(
    ("baseline", "num_experts", "ks"),
    [
        (8, 128, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128]),
        (2, 6, [1, 2, 4, 6]),
        (6, 7, [1, 2, 3, 4, 5, 6, 7]),
        (1, 2, [1, 2]),
    ],
)
def test_small_k_powers_of_two_and_all_experts_are_listed(
    baseline: int, num_experts: int, ks: list[int]
) -> None:
    assert k_values(baseline, num_experts) == ks
