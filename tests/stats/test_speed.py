from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.resampling import Interval
from moe_eval_plugin.stats.speed import Spread, median_interval, speed_ratio


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


def test_few_values_have_an_interval_of_low_confidence_and_one_has_none() -> None:
    assert median_interval([9.0, 10.0, 14.0]) == Interval(9.0, 14.0, 0.75)
    assert median_interval([7.0]) is None


def test_pairs_of_speeds_cancel_what_slowed_both() -> None:
    slow_machine = [1.0, 0.5, 0.9, 0.3, 1.0, 0.7]
    base, own = [[rate * slow for slow in slow_machine] for rate in (10.0, 15.0)]

    found = speed_ratio(own, base)

    assert found.ratio == pytest.approx(1.5)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(found.interval.high)
    assert found.interval.confidence >= 0.95
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


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9, 20])
def test_the_interval_of_a_median_is_the_narrowest_with_its_confidence(n: int) -> None:
    found = median_interval([float(number) for number in range(n)])

    assert found is not None
    reference = scipy.stats.quantile_test(np.arange(n), p=0.5).confidence_interval(0.95)
    if n >= 6:
        assert (found.low, found.high) == (reference.low, reference.high)
        assert found.confidence >= 0.95
    else:
        assert (found.low, found.high) == (0, n - 1)
    n_below = int(found.low)
    share = sum(math.comb(n, heads) for heads in range(n_below + 1)) / 2**n
    assert found.confidence == pytest.approx(1 - 2 * share)
