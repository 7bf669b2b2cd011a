from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import Interval
from moe_eval_plugin.stats.speed import (
    SpeedRatio,
    Spread,
    median_interval,
    paired_ratio,
    ratio_of_ratios,
    speed_ratio,
)


def test_a_spread_is_a_median_between_the_smallest_and_the_largest() -> None:
    assert Spread.of([9.0, 14.0, 10.0]) == Spread(median=10.0, smallest=9.0, largest=14.0, n=3)


def test_a_quantity_that_one_repetition_lacks_is_not_known() -> None:
    assert Spread.of([1.0, None, 3.0]) is None
    assert Spread.of([]) is None


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_a_spread_holds_all_values(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.smallest <= spread.median <= spread.largest
    assert {spread.smallest, spread.largest} <= set(values)


def test_two_to_five_values_have_the_interval_of_student_on_their_logarithms() -> None:
    values = [9.0, 10.0, 14.0]
    logs = np.log(values)
    reference = scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs))

    found = median_interval(values)

    assert found is not None
    assert (found.low, found.high) == pytest.approx(np.exp(reference))
    assert found.confidence == 0.95
    assert found.low < min(values) < max(values) < found.high


def test_one_value_has_no_interval() -> None:
    assert median_interval([7.0]) is None


def test_pairs_of_speeds_cancel_what_slowed_both() -> None:
    slow_machine = [1.0, 0.5, 0.9, 0.3, 1.0, 0.7]
    base, own = [[rate * slow for slow in slow_machine] for rate in (10.0, 15.0)]

    found = speed_ratio(own, base)

    assert found.ratio == pytest.approx(1.5)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(found.interval.high)
    assert found.interval.confidence == 0.95
    assert found.n_pairs == 6


def test_speeds_that_are_no_pairs_have_a_ratio_without_an_interval() -> None:
    found = speed_ratio([15.0, 20.0, 25.0], [10.0, 10.0], paired=False)

    assert (found.ratio, found.interval, found.n_pairs) == (2.0, None, None)
    with pytest.raises(DataError, match="3 rates cannot be paired with 2 of the baseline"):
        speed_ratio([15.0, 20.0, 25.0], [10.0, 10.0])


@pytest.mark.parametrize("rates", [[], [1.0, 0.0], [-1.0]])
def test_rates_that_were_not_measured_are_refused(rates: list[float]) -> None:
    with pytest.raises(DataError, match="measured rates"):
        speed_ratio([1.0], rates, paired=False)
    with pytest.raises(DataError, match="measured rates"):
        speed_ratio(rates, [1.0], paired=False)


@pytest.mark.parametrize("n", [6, 7, 9, 20, 33])
def test_the_interval_of_a_median_lies_between_the_two_nearest_of_ranks(n: int) -> None:
    values = np.exp(np.arange(n))

    found = median_interval(values.tolist())

    assert found is not None
    wider = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    low, high = np.log([found.low, found.high])
    outer = float(np.log(wider.low))
    assert outer <= low < outer + 1
    assert low + high == pytest.approx(n - 1)
    assert found.confidence == 0.95


def test_the_interval_of_a_median_is_that_of_hettmansperger_and_sheather() -> None:
    # n = 10: ranks 2 and 9 have 97.85%, ranks 3 and 8 have 89.06%.
    excess = (0.978515625 - 0.95) / (0.978515625 - 0.890625)
    share = 8 * excess / (2 + 6 * excess)

    found = median_interval(np.exp(np.arange(1, 11)).tolist())

    assert found is not None
    assert np.log(found.low) == pytest.approx(2 + share)
    assert np.log(found.high) == pytest.approx(9 - share)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=40), st.booleans())
def test_exchanging_both_sides_inverts_the_ratio_and_its_interval(
    seconds: list[float], looked: bool
) -> None:
    base = [1.0] * len(seconds)

    one = paired_ratio(seconds, base, repeated_looks=looked)
    other = paired_ratio(base, seconds, repeated_looks=looked)

    assert one.interval is not None
    assert other.interval is not None
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.interval.low == pytest.approx(1 / other.interval.high)
    assert one.interval.low <= one.ratio * (1 + 1e-9)
    assert one.ratio <= one.interval.high * (1 + 1e-9)


def test_an_outlier_moves_the_interval_no_further_than_any_slow_block_does() -> None:
    seconds = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0]

    slow, outlier = (paired_ratio([*seconds, last], [1.0] * 10) for last in (1.03, 300.0))

    assert slow.interval == outlier.interval
    assert outlier.ratio_of_totals == pytest.approx(10 / 309)


def test_an_interval_that_is_looked_at_after_each_block_is_wider() -> None:
    seconds = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0]

    once, often = (paired_ratio(seconds, [1.0] * 9, repeated_looks=one) for one in (False, True))

    assert once.width is not None
    assert often.width is not None
    assert once.width < often.width
    assert often.interval is not None
    assert often.interval.confidence == 0.95


def test_a_single_pair_was_timed_once() -> None:
    found = paired_ratio([2.0], [3.0])

    assert (found.ratio, found.interval, found.width) == (pytest.approx(1.5), None, None)
    assert found.ratio_of_totals == 1.5
    assert not found.excludes_one


def with_interval(ratio: float, low: float, high: float) -> SpeedRatio:
    return SpeedRatio(ratio, Interval(low, high, 0.95), 8)


def test_a_speed_up_as_text_has_its_interval_or_says_that_it_was_timed_once() -> None:
    assert with_interval(1.368, 1.314, 1.421).text == "1.37× (1.31 to 1.42)"
    assert SpeedRatio(1.55, None, 1).text == "1.55×, timed once"


def test_the_ratio_of_two_speed_ups_has_the_interval_of_independent_errors() -> None:
    same = ratio_of_ratios(with_interval(1.5, 1.4, 1.6), with_interval(1.6, 1.5, 1.7))
    other = ratio_of_ratios(with_interval(1.1, 1.0, 1.2), with_interval(1.29, 1.19, 1.39))
    assert same is not None
    assert other is not None
    assert same.interval is not None
    assert same.interval.holds(1.0)
    # The two intervals overlap, from 1.19 to 1.2, and yet the change is no chance.
    assert other.excludes_one
    error = math.log(1.6 / 1.5) / 1.96
    drawn = np.random.default_rng(1).normal(0, error * math.sqrt(2), 20_000)
    sharp = with_interval(1.5, 1.5**2 / 1.6, 1.6)
    found = ratio_of_ratios(sharp, sharp)
    assert found is not None
    assert found.interval is not None
    assert found.interval.high == pytest.approx(math.exp(np.quantile(drawn, 0.975)), rel=0.02)
    of_seven = ratio_of_ratios(sharp, sharp, 7)
    assert of_seven is not None
    assert of_seven.interval is not None
    assert of_seven.interval.confidence == pytest.approx(1 - 0.05 / 7)
    share = (1 + of_seven.interval.confidence) / 2
    assert of_seven.interval.high == pytest.approx(math.exp(np.quantile(drawn, share)), rel=0.02)
    assert ratio_of_ratios(sharp, SpeedRatio(1.0, None, 1)) is None
