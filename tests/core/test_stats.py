"""Intervals, paired tests, equivalence and speed, against their definitions."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.stats import (
    Bootstrap,
    Interval,
    accuracy,
    accuracy_by_group,
    differences_to_baseline,
    equivalence,
    holm,
    paired_difference,
    pool_seeds,
    questions_needed,
    speed,
    speed_ratio,
)
from moe_eval_plugin.stats.paired import BOOTSTRAP_TEST, MCNEMAR_TEST
from moe_eval_plugin.stats.speed import median_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = Bootstrap(n_resamples=500)
# The machine may have other work to do.
unhurried = settings(deadline=None)
VQA_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
scores_of_questions = st.lists(st.sampled_from(VQA_SCORES), min_size=1, max_size=40)


def draw_scores(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(VQA_SCORES, n)


def same(one: Interval, other: Interval, tolerance: float) -> bool:
    return abs(one.low - other.low) < tolerance and abs(one.high - other.high) < tolerance


def test_the_interval_is_the_percentile_bootstrap_of_scipy() -> None:
    scores = draw_scores(300)
    with_four = [*scores, 0.0, 0.0, 1.0, 1.0]

    expected = scipy.stats.bootstrap(
        [with_four], np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = accuracy(scores)

    assert found.value == pytest.approx(scores.mean())
    assert (found.n_questions, found.n_clusters, found.interval.confidence) == (300, 300, 0.95)
    assert same(found.interval, Interval(expected.low, expected.high, 0.95), 0.004)


def test_clusters_are_drawn_whole() -> None:
    scores = draw_scores(200)
    images = [number for number in range(200) for _ in range(10)]

    alone = accuracy(scores)
    ten_times = accuracy(np.repeat(scores, 10), images)
    as_if_independent = accuracy(np.repeat(scores, 10))

    assert same(alone.interval, ten_times.interval, 0.01)
    width = as_if_independent.interval.high - as_if_independent.interval.low
    assert width < 0.4 * (ten_times.interval.high - ten_times.interval.low)
    assert (ten_times.n_questions, ten_times.n_clusters) == (2000, 200)


def test_images_with_many_questions_count_by_their_questions() -> None:
    # The mean is over questions, not over images.
    assert accuracy([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]).value == 0.75


def test_both_ways_of_drawing_agree() -> None:
    repeated = draw_scores(400)
    # Scores that never repeat make every question a row of its own.
    distinct = repeated + np.random.default_rng(2).uniform(0, 1e-6, 400)

    one, other = accuracy(repeated), accuracy(distinct)

    assert same(one.interval, other.interval, 0.004)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = draw_scores(100)

    first, again = (accuracy(scores, bootstrap=QUICK) for _ in range(2))
    other = accuracy(scores, bootstrap=Bootstrap(n_resamples=500, seed=1))

    assert first == again
    assert first.interval != other.interval


def test_the_size_of_a_block_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [number // 3 for number in range(120)]
    scores = [*np.random.default_rng(0).random(120)]
    before = accuracy(scores, images, bootstrap=QUICK), accuracy(draw_scores(90), bootstrap=QUICK)

    monkeypatch.setattr("moe_eval_plugin.stats.resampling.BLOCK_CELLS", 7 * 44)

    after = accuracy(scores, images, bootstrap=QUICK), accuracy(draw_scores(90), bootstrap=QUICK)
    assert before[1] == after[1]
    assert same(before[0].interval, after[0].interval, 1e-12)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_that_are_all_equal_still_have_an_interval(score: float) -> None:
    few, many = accuracy([score] * 20).interval, accuracy([score] * 2000).interval

    assert few.holds(score)
    assert few.high - few.low > 0.1
    assert 0.001 < many.high - many.low < 0.01


@unhurried
@given(scores_of_questions)
def test_the_interval_holds_the_value_and_stays_within_bounds(scores: list[float]) -> None:
    found = accuracy(scores, bootstrap=QUICK)

    assert 0 <= found.interval.low <= found.interval.high <= 1
    assert found.interval.holds(found.value)


def test_groups_are_scored_for_themselves() -> None:
    groups = ["yes/no", "other", None, "yes/no"]
    images = [1, 1, 2, 1]

    found = accuracy_by_group([1.0, 0.3, 0.0, 0.0], groups, images, bootstrap=QUICK)

    assert list(found) == ["other", "yes/no"]
    assert (found["yes/no"].value, found["yes/no"].n_clusters) == (0.5, 1)
    assert found["other"] == accuracy([0.3], bootstrap=QUICK)


def test_seeds_are_averaged_question_by_question() -> None:
    pooled = pool_seeds([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

    assert pooled.scores == (0.5, 0.0, 1.0)
    assert pooled.means == pytest.approx((2 / 3, 1 / 3))
    assert pooled.n_seeds == 2
    assert pooled.spread == pytest.approx(statistics.stdev([2 / 3, 1 / 3]))
    assert pool_seeds([[1.0]]).spread is None


def test_seeds_that_say_the_same_add_nothing() -> None:
    scores = draw_scores(100)

    assert accuracy(pool_seeds([scores] * 7).scores) == accuracy(scores)


@pytest.mark.parametrize("runs", [[], [[1.0], [1.0, 0.0]]])
def test_seeds_over_other_questions_are_refused(runs: list[list[float]]) -> None:
    with pytest.raises(DataError, match="cannot be pooled"):
        pool_seeds(runs)


@pytest.mark.parametrize("scores", [[], [float("nan")], [float("inf"), 1.0], [[1.0], [0.0]]])
def test_what_is_no_list_of_scores_is_refused(scores: Any) -> None:
    with pytest.raises(DataError, match="one finite score for each question"):
        accuracy(scores)


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 clusters were given for 1 questions"):
        accuracy([1.0], ["a", "b"])
    with pytest.raises(DataError, match="no pairs"):
        paired_difference([1.0], [1.0, 0.0])
    with pytest.raises(DataError, match="1 groups were given for 2 questions"):
        accuracy_by_group([1.0, 0.0], ["other"])


@pytest.mark.parametrize("settings", [{"confidence": 1.0}, {"confidence": 0}, {"n_resamples": 1}])
def test_a_bootstrap_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="is not possible"):
        Bootstrap(**settings)


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

    found = differences_to_baseline(runs, base, bootstrap=QUICK)

    raw = [one.p_value for one in found.values()]
    assert list(found) == ["k=4", "k=2"]
    assert [one.adjusted_p_value for one in found.values()] == holm(raw)
    assert paired_difference(base, base, bootstrap=QUICK).adjusted_p_value is None
    assert holm([]) == []


@pytest.mark.parametrize(
    ("loss", "n", "verdict"),
    [(0.0, 4000, "yes"), (0.1, 4000, "no"), (0.011, 4000, "cannot tell"), (0.0, 40, "cannot tell")],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_equivalence_has_three_answers(loss: float, n: int, verdict: str, sign: int) -> None:
    base = np.full(n, 0.5)
    changes = np.random.default_rng(0).choice([-0.3, 0.3], n)
    own = base + changes - changes.mean() + sign * loss

    found = equivalence(paired_difference(own, base), 0.01)

    assert found.verdict == verdict
    assert found.n_questions == n
    assert (found.n_questions_needed_as_observed is None) == (loss >= 0.01)


def test_a_narrow_margin_takes_more_questions_by_its_square() -> None:
    wide, narrow = (questions_needed(0.01, 1000, margin) for margin in (0.02, 0.01))

    assert wide is not None
    assert narrow is not None
    assert narrow == pytest.approx(4 * wide, rel=0.01)


def test_the_number_of_questions_is_that_of_the_textbook_without_a_difference() -> None:
    # n = variance * (z(0.95) + z(0.9))^2 / margin^2, for 80% power with both tests.
    normal = statistics.NormalDist()
    expected = 0.2 * (normal.inv_cdf(0.95) + normal.inv_cdf(0.9)) ** 2 / 0.01**2

    assert questions_needed(math.sqrt(0.2 / 500), 500, 0.01) == math.ceil(expected)


def test_a_difference_within_the_margin_takes_more_and_one_outside_has_no_number() -> None:
    none, half, outside = (
        questions_needed(0.01, 1000, 0.01, true_difference=d) for d in (0.0, -0.005, 0.01)
    )

    assert none is not None
    assert half is not None
    assert half > 2 * none
    assert outside is None


@pytest.mark.parametrize("margin", [0.0, -0.01, float("nan"), float("inf")])
def test_a_margin_must_be_above_0(margin: float) -> None:
    difference = paired_difference([1.0], [1.0], bootstrap=QUICK)
    with pytest.raises(InvalidArgumentError, match="margin"):
        equivalence(difference, margin)
    with pytest.raises(InvalidArgumentError, match="margin"):
        questions_needed(0.01, 100, margin)


def test_speed_is_a_median_with_its_spread() -> None:
    found = speed([9.0, 10.0, 14.0])

    assert (found.median, found.smallest, found.largest, found.n_repetitions) == (10, 9, 14, 3)
    assert found.interval == Interval(9.0, 14.0, 0.75)
    assert speed([7.0]).interval is None


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
    with pytest.raises(DataError, match="no pairs"):
        speed_ratio([15.0, 20.0, 25.0], [10.0, 10.0])


@pytest.mark.parametrize("rates", [[], [1.0, 0.0], [-1.0]])
def test_rates_that_were_not_measured_are_refused(rates: list[float]) -> None:
    with pytest.raises(DataError, match="measured rates"):
        speed(rates)
    with pytest.raises(DataError, match="measured rates"):
        speed_ratio([1.0], rates, paired=False)


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


def test_results_are_plain_data() -> None:
    base = draw_scores(30)
    difference = paired_difference(base, base, bootstrap=QUICK)
    results: list[Any] = [
        accuracy(base, bootstrap=QUICK),
        difference,
        equivalence(difference, 0.01),
        speed([1.0, 2.0]),
        speed_ratio([1.0, 2.0], [1.0, 1.0]),
    ]

    for result in results:
        stored = json.loads(json.dumps(result.to_dict()))
        assert stored
        assert stored == result.to_dict()


def test_as_many_questions_as_vqav2_has_fit_into_little_memory() -> None:
    n_questions, n_images = 214_354, 40_504
    generator = np.random.default_rng(0)
    images = generator.integers(0, n_images, n_questions).tolist()
    own, base = generator.random(n_questions), generator.random(n_questions)

    tracemalloc.start()
    try:
        found = paired_difference(own, base, images, bootstrap=Bootstrap(n_resamples=1500))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found.n_questions == n_questions
    assert peak_bytes < 400e6


def test_importing_the_statistics_loads_no_library() -> None:
    program = (
        "import sys, moe_eval_plugin.stats, moe_eval_plugin.decide, "
        "moe_eval_plugin.comparing.compare, moe_eval_plugin.commands.compare\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "moe_eval_plugin" in done.stdout.split()
    assert not {"numpy", "scipy", "torch", "lmms_eval"} & set(done.stdout.split())
