"""S-MFU, S-MBU, ceilings and fits against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.bench.efficiency import (
    EfficiencyModel,
    Hardware,
    LatencyFit,
    Step,
    fit_latency,
)
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer

# Two layers of 4 experts with 100 parameters each, 50 parameters beside them and a head of 50.
COST = LanguageModelCost(
    matrix_parameters=50,
    head_parameters=50,
    routed_layers=(RoutedLayer(4, 100), RoutedLayer(4, 100)),
    attentions=(AttentionShape(score_size=5, value_size=5, cached_numbers=10),),
)
HARDWARE = Hardware(memory_bandwidth_bytes_per_s=10_000.0, peak_flops_per_s=100_000.0)
JUDGE = EfficiencyModel(COST, HARDWARE, bytes_per_number=2)
REFERENCE = Step(
    experts_k=2, batch_size=2, context_length=10, seconds=1.0, distinct_experts=(3.0, 2.0)
)
HALF = Step(experts_k=1, batch_size=2, context_length=10, seconds=0.5, distinct_experts=(2.0, 1.5))


def test_only_activated_experts_count_in_a_decode_step() -> None:
    found = JUDGE.decode(REFERENCE, None, None)
    # Weights 50 + 50 + (3 + 2) * 100, cache 2 sequences of 10 positions of 10 numbers; 2 bytes.
    assert found.bytes_read == 2 * (100 + 500 + 2 * 10 * 10)
    assert found.s_mbu == 1600 / 1.0 / 10_000
    # 2 FLOPs per parameter: 2 experts in 2 layers, 50 and the head; attention 2 * 10 * 10.
    assert found.flops == 2 * (2 * (2 * 2 * 100 + 50 + 50) + 200)
    assert found.s_mfu == 2400 / 1.0 / 100_000


def test_prefill_counts_the_head_once_and_attention_to_what_lies_before() -> None:
    found = JUDGE.prefill(REFERENCE, None, None)
    per_prompt = 10 * 2 * (2 * 2 * 100 + 50) + 2 * 50 + 2 * 10 * (10 * 11 / 2)
    assert found.flops == pytest.approx(2 * per_prompt)
    assert found.s_mfu == pytest.approx(2 * per_prompt / 100_000)


def test_a_gain_is_compared_with_its_ceiling_and_its_prediction() -> None:
    found = JUDGE.decode(HALF, REFERENCE, 1.25)
    # 800 numbers at the reference, 500 of them routed; half of those stay.
    assert found.speedup_ceiling == pytest.approx(800 / 550)
    assert found.predicted_speedup == pytest.approx(800 / 650)
    assert found.gain_efficiency == pytest.approx(1.25 * 550 / 800)


def test_the_reference_itself_reaches_its_ceiling() -> None:
    for judge in (JUDGE.decode, JUDGE.prefill):
        found = judge(REFERENCE, REFERENCE, 1.0)
        assert found.speedup_ceiling == pytest.approx(1.0)
        assert found.gain_efficiency == pytest.approx(1.0)
        assert found.predicted_speedup == pytest.approx(1.0)


def test_the_ceiling_of_prefill_is_that_of_its_flops() -> None:
    found = JUDGE.prefill(HALF, REFERENCE, None)
    assert found.speedup_ceiling == pytest.approx(found.predicted_speedup)
    assert found.gain_efficiency is None


def test_a_larger_k_than_the_reference_has_a_prediction_and_no_ceiling() -> None:
    found = JUDGE.decode(REFERENCE, HALF, 0.5)
    assert found.speedup_ceiling is None
    assert found.gain_efficiency is None
    assert found.predicted_speedup == pytest.approx(650 / 800)


def test_unknown_hardware_gives_none_and_no_zero() -> None:
    found = EfficiencyModel(COST, Hardware(), 2).decode(REFERENCE, None, None)
    assert (found.s_mfu, found.s_mbu) == (None, None)
    assert found.bytes_read is not None


@pytest.mark.parametrize("distinct", [(), (3.0,)])
def test_without_counted_experts_bytes_are_not_known(distinct: tuple[float, ...]) -> None:
    step = replace(REFERENCE, distinct_experts=distinct)
    found = JUDGE.decode(step, step, 1.0)
    assert (found.bytes_read, found.s_mbu, found.predicted_speedup) == (None, None, None)
    assert found.s_mfu is not None
    assert found.speedup_ceiling is not None


def test_an_unknown_data_type_leaves_the_bytes_unknown() -> None:
    found = EfficiencyModel(COST, HARDWARE, None).decode(HALF, REFERENCE, 1.0)
    assert (found.bytes_read, found.s_mbu) == (None, None)
    assert found.predicted_speedup is not None


@given(
    slope=st.floats(1e-6, 1.0),
    intercept=st.floats(0, 10.0),
    experts=st.lists(st.integers(1, 128), min_size=3, unique=True),
)
def test_a_line_is_found_again(slope: float, intercept: float, experts: list[int]) -> None:
    fit = fit_latency((float(n), intercept + slope * n) for n in experts)
    assert fit is not None
    assert fit.slope_s_per_expert == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert fit.intercept_s == pytest.approx(intercept, rel=1e-6, abs=1e-6)
    assert fit.n_points == len(experts)


def test_the_fit_agrees_with_scipy_on_noise() -> None:
    from scipy.stats import linregress

    points = [(1.0, 2.0), (2.0, 2.5), (4.0, 5.5), (8.0, 7.0)]
    expected = linregress(*zip(*points, strict=True))
    assert fit_latency(points) == LatencyFit(
        pytest.approx(expected.slope),
        pytest.approx(expected.intercept),
        pytest.approx(expected.rvalue**2),
        4,
    )


@pytest.mark.parametrize(
    "points", [[], [(1.0, 1.0), (2.0, 2.0)], [(1.0, 1.0)] * 3, [(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]]
)
def test_too_few_or_equal_points_give_no_line(points: list[tuple[float, float]]) -> None:
    assert fit_latency(points) is None
