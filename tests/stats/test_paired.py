from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.stats import equivalence
from moe_eval_plugin.stats.paired import (
    BOOTSTRAP_TEST,
    MCNEMAR_TEST,
    adjust,
    holm,
    paired_difference,
)
from moe_eval_plugin.stats.resampling import Bootstrap
from tests.stats.drawn_scores import QUICK, draw_scores, unhurried

if TYPE_CHECKING:
    from collections.abc import Sequence


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_a_paired_difference_is_that_of_the_means() -> None:
    own, base = draw_scores(50, seed=1), draw_scores(50, seed=2)

    found = paired_difference(own, base, bootstrap=QUICK)

    assert found.difference == pytest.approx(own.mean() - base.mean())
    assert found.retention == pytest.approx(own.mean() / base.mean())
    assert found.retention is not None
    assert found.retention_interval is not None
    assert found.retention_interval.holds(found.retention)
    assert (found.n_higher, found.n_lower) == ((own > base).sum(), (own < base).sum())
    inner, outer = found.equivalence_interval, found.interval
    assert outer.low < inner.low < inner.high < outer.high
    assert (inner.confidence, outer.confidence) == (0.9, 0.95)


def test_pairs_that_rise_and_fall_together_have_a_narrow_interval() -> None:
    base = draw_scores(1000)
    own = np.where(np.arange(1000) % 100 == 0, 0.0, base)

    paired = paired_difference(own, base)
    shuffled = paired_difference(np.random.default_rng(0).permutation(own), base)

    assert paired.difference == shuffled.difference
    assert shuffled.standard_error > 5 * paired.standard_error


@unhurried
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_mcnemar_is_the_sign_test_of_the_questions_that_changed(
    pairs: list[tuple[bool, bool]],
) -> None:
    own, base = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    gained = sum(one > two for one, two in zip(own, base, strict=True))
    lost = sum(one < two for one, two in zip(own, base, strict=True))
    n = gained + lost
    tail = sum(math.comb(n, wins) for wins in range(min(gained, lost) + 1)) / 2**n

    found = paired_difference(own, base, bootstrap=QUICK)

    assert found.mcnemar_p_value == pytest.approx(min(1.0, 2 * tail))
    assert (found.p_value, found.test) == (found.mcnemar_p_value, MCNEMAR_TEST)


def test_questions_that_share_an_image_are_tested_by_the_bootstrap() -> None:
    found = paired_difference([1.0, 1.0, 1.0], [0.0, 0.0, 1.0], ["a", "a", "b"], bootstrap=QUICK)

    assert found.test == BOOTSTRAP_TEST
    assert found.mcnemar_p_value == pytest.approx(0.5)
    assert found.p_value > 0.1


def test_partial_points_are_tested_by_the_bootstrap() -> None:
    base = draw_scores(500)
    worse = np.maximum(base - 0.3, 0)

    found = paired_difference(worse, base)

    assert (found.test, found.mcnemar_p_value) == (BOOTSTRAP_TEST, None)
    assert found.p_value == pytest.approx(2 / 10_001)
    assert found.interval.low < found.difference < found.interval.high < 0
    assert paired_difference(base, base).p_value > 0.5


def test_runs_that_differ_nowhere_still_have_an_interval() -> None:
    few, many = (paired_difference([1.0] * n, [1.0] * n) for n in (20, 2000))

    assert few.difference == many.difference == 0
    assert few.interval.holds(0)
    assert few.interval.high > 0.05
    assert 0 < many.interval.high < 0.005
    assert equivalence(few, 0.01).verdict == "cannot tell"
    assert equivalence(many, 0.01).verdict == "yes"


def test_nothing_is_retained_of_nothing() -> None:
    for seed in range(20):
        once = Bootstrap(n_resamples=2, seed=seed)
        found = paired_difference([0.3, 0.0], [0.0, 0.0], bootstrap=once)
        assert (found.retention, found.retention_interval) == (None, None)


def by_definition(p_values: Sequence[float], level: float) -> list[bool]:
    """Reject the smallest p-value left while it is at most the level by the number left."""
    rejected = [False] * len(p_values)
    while not all(rejected):
        left = [number for number, done in enumerate(rejected) if not done]
        smallest = min(left, key=lambda number: p_values[number])
        if p_values[smallest] * len(left) > level:
            break
        rejected[smallest] = True
    return rejected


@unhurried
@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_rejects_what_its_definition_rejects(p_values: list[float], level: float) -> None:
    assert [p <= level for p in holm(p_values)] == by_definition(p_values, level)


@unhurried
@given(P_VALUES)
def test_holm_lies_between_no_adjustment_and_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, max(p, len(p_values) * p))


def test_comparisons_are_adjusted_for_their_number() -> None:
    base = draw_scores(200)
    runs = {"k=4": np.maximum(base - 0.1, 0), "k=2": draw_scores(200, seed=5)}

    found = adjust(
        {name: paired_difference(own, base, bootstrap=QUICK) for name, own in runs.items()}
    )

    raw = [one.p_value for one in found.values()]
    assert list(found) == ["k=4", "k=2"]
    assert [one.adjusted_p_value for one in found.values()] == holm(raw)
    assert paired_difference(base, base, bootstrap=QUICK).adjusted_p_value is None
    assert holm([]) == []
