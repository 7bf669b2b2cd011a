from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats import accuracy, equivalence
from moe_eval_plugin.stats.paired import paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap, Interval
from tests.stats.drawn_scores import QUICK, VQA_SCORES, draw_scores, unhurried

scores_of_questions = st.lists(st.sampled_from(VQA_SCORES), min_size=1, max_size=40)


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


@unhurried
@given(scores_of_questions)
def test_the_interval_holds_the_value_and_stays_within_bounds(scores: list[float]) -> None:
    found = accuracy(scores, bootstrap=QUICK)

    assert 0 <= found.interval.low <= found.interval.high <= 1
    assert found.interval.holds(found.value)


@pytest.mark.parametrize("settings", [{"confidence": 1.0}, {"confidence": 0}, {"n_resamples": 1}])
def test_a_bootstrap_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="is not possible"):
        Bootstrap(**settings)


def test_results_are_plain_data() -> None:
    base = draw_scores(30)
    difference = paired_difference(base, base, bootstrap=QUICK)
    results: list[Any] = [
        accuracy(base, bootstrap=QUICK),
        difference,
        equivalence(difference, 0.01),
    ]

    for result in results:
        fields = asdict(result)
        assert json.loads(json.dumps(fields)) == fields


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
        "import sys, moe_eval_plugin.stats, moe_eval_plugin.stats.pareto, "
        "moe_eval_plugin.results.compare.compare, moe_eval_plugin.commands.compare\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "moe_eval_plugin" in done.stdout.split()
    assert not {"numpy", "scipy", "torch", "lmms_eval"} & set(done.stdout.split())
