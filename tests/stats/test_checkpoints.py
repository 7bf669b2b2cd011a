"""Effects over checkpoints: against scipy, by hand, and in simulations with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.checkpoints import (
    CheckpointDifference,
    checkpoint_difference,
    checkpoint_ratio,
    count_signs,
    least_sign_p_value,
)
from moe_eval_plugin.stats.paired import paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap

FEW_RESAMPLES = Bootstrap(n_resamples=300)
WIDE = (-2.0, 2.0)


def drawn(
    n: int, n_questions: int, parts: tuple[float, float, float], generator: np.random.Generator
) -> CheckpointDifference:
    """Return the difference where the mean effect is 0, and its parts have these deviations.

    ``parts`` are those of a checkpoint, of a question, and of both together.
    """
    of_checkpoint = generator.normal(0, parts[0], (n, 1))
    of_question = generator.normal(0, parts[1], (1, n_questions))
    scores = of_checkpoint + of_question + generator.normal(0, parts[2], (n, n_questions))
    zeros = np.zeros_like(scores)
    return checkpoint_difference(list(scores), list(zeros), bounds=WIDE, bootstrap=FEW_RESAMPLES)


def test_the_intervals_are_those_of_scipy() -> None:
    generator = np.random.default_rng(3)
    own, base = generator.integers(0, 2, (2, 4, 50)).astype(float)
    found = checkpoint_difference(list(own), list(base))
    differences = (own - base).mean(axis=1)
    assert found.differences == pytest.approx(tuple(differences))
    assert found.difference == pytest.approx(differences.mean())
    low, high = scipy_stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.over_checkpoints is not None
    assert (found.over_checkpoints.low, found.over_checkpoints.high) == pytest.approx((low, high))
    pooled = paired_difference(own.mean(axis=0), base.mean(axis=0))
    assert found.over_questions == pooled.interval
    # The squares of both half widths are added.
    over_questions = scipy_stats.t.ppf(0.975, 49) * pooled.standard_error
    assert found.interval is not None
    expected = math.hypot((high - low) / 2, over_questions)
    assert found.interval.high - found.difference == pytest.approx(expected)


def test_the_p_value_is_that_of_the_interval_which_ends_at_0() -> None:
    generator = np.random.default_rng(3)
    own, base = generator.integers(0, 2, (2, 4, 50)).astype(float)
    p_value = checkpoint_difference(list(own), list(base)).p_value
    assert p_value is not None
    same = checkpoint_difference(
        list(own), list(base), bootstrap=Bootstrap(confidence=1 - p_value)
    ).interval
    assert same is not None
    assert min(abs(same.low), abs(same.high)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "parts"),
    [
        (2, (0.05, 0.2, 0.2)),
        (3, (0.1, 0.1, 0.2)),
        (5, (0.05, 0.1, 0.3)),
        (8, (0.01, 0.4, 0.2)),
    ],
)
def test_the_interval_holds_the_truth_whatever_varies(
    n: int, parts: tuple[float, float, float]
) -> None:
    generator = np.random.default_rng(7)
    found = [drawn(n, 150, parts, generator) for _ in range(200)]
    held = [one.interval.holds(0.0) for one in found if one.interval]
    assert len(held) == 200
    # Of 200 intervals at 95% fewer than 183 hold in 1 of 100 cases.
    assert sum(held) >= 183


def test_an_interval_that_lets_one_of_both_vary_holds_less_often() -> None:
    generator = np.random.default_rng(7)
    # Checkpoints are all but alike: only the questions matter; and the reverse.
    alike = [drawn(8, 150, (0.01, 0.4, 0.1), generator) for _ in range(100)]
    assert sum(one.over_checkpoints.holds(0.0) for one in alike if one.over_checkpoints) < 70
    unlike = [drawn(3, 150, (0.3, 0.05, 0.1), generator) for _ in range(100)]
    assert sum(one.over_questions.holds(0.0) for one in unlike) < 70


def test_one_checkpoint_has_no_interval_over_checkpoints() -> None:
    found = checkpoint_difference([[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]])
    assert found.difference == pytest.approx(-1 / 3)
    assert (found.interval, found.over_checkpoints, found.spread, found.p_value) == (None,) * 4
    assert found.over_questions.low < found.difference


def test_checkpoints_with_equal_answers_keep_the_interval_of_the_questions() -> None:
    same = [[1.0, 0.0, 1.0, 1.0, 0.0]] * 3
    found = checkpoint_difference(same, same)
    assert found.difference == 0
    assert found.over_checkpoints is not None
    assert (found.over_checkpoints.low, found.over_checkpoints.high) == (0, 0)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high
    assert (found.signs.n_equal, found.signs.share_lower, found.signs.p_value) == (3, None, None)


@pytest.mark.parametrize(
    ("n_lower", "n_higher", "n_equal"), [(5, 0, 0), (4, 1, 2), (0, 3, 0), (1, 0, 0)]
)
def test_signs_are_tested_exactly(n_lower: int, n_higher: int, n_equal: int) -> None:
    found = count_signs([-0.1] * n_lower + [0.2] * n_higher + [0.0] * n_equal)
    n = n_lower + n_higher
    assert (found.n_lower, found.n_higher, found.n_equal) == (n_lower, n_higher, n_equal)
    assert found.p_value == pytest.approx(scipy_stats.binomtest(n_lower, n).pvalue)
    # Clopper and Pearson by quantiles of the beta distribution.
    low = scipy_stats.beta.ppf(0.025, n_lower, n - n_lower + 1) if n_lower else 0.0
    high = scipy_stats.beta.ppf(0.975, n_lower + 1, n - n_lower) if n_lower < n else 1.0
    assert found.share_lower is not None
    assert (found.share_lower.low, found.share_lower.high) == pytest.approx((low, high))


def test_no_fewer_than_six_checkpoints_can_agree_significantly() -> None:
    for n in range(1, 9):
        least = count_signs([-1.0] * n).p_value
        assert least == pytest.approx(least_sign_p_value(n))
        assert (least is not None and least < 0.05) == (n >= 6)


def test_speed_ups_are_averaged_as_logarithms() -> None:
    ratios = [1.2, 1.5, 1.3]
    found = checkpoint_ratio(ratios)
    assert found.ratio == pytest.approx(scipy_stats.gmean(ratios))
    low, high = scipy_stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (math.exp(low), math.exp(high))
    )
    inverse = checkpoint_ratio([1 / one for one in ratios])
    assert inverse.ratio == pytest.approx(1 / found.ratio)
    assert checkpoint_ratio([1.4]).interval is None


@pytest.mark.parametrize("ratios", [[], [1.0, 0.0], [1.0, math.nan]])
def test_speed_ups_that_cannot_be_averaged_are_refused(ratios: list[float]) -> None:
    with pytest.raises(DataError, match="cannot be averaged"):
        checkpoint_ratio(ratios)


def test_checkpoints_with_different_questions_are_refused() -> None:
    with pytest.raises(DataError, match="same questions"):
        checkpoint_difference([[1.0], [1.0, 0.0]], [[1.0], [1.0, 0.0]])
    with pytest.raises(DataError, match="1 checkpoints and 2 baselines"):
        checkpoint_difference([[1.0]], [[1.0], [1.0]])
