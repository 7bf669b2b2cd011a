"""Do the statistics keep their promises? Runs are simulated whose truth is known.

Seeds are fixed, so a test gives the same counts each time. The bounds are those that counts of the
promised probability would leave once in a thousand times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binom

from moe_eval_plugin.stats import accuracy, equivalence
from moe_eval_plugin.stats.paired import MCNEMAR_TEST, paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap
from moe_eval_plugin.stats.speed import median_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

N_RUNS = 300
BOOTSTRAP = Bootstrap(n_resamples=500)
RARELY = 0.001


def least(probability: float) -> int:
    return int(binom.ppf(RARELY, N_RUNS, probability))


def most(probability: float) -> int:
    return int(binom.ppf(1 - RARELY, N_RUNS, probability))


def draw_images(generator: np.random.Generator, n_images: int, sizes: tuple[int, int]) -> Array:
    """Draw the number of questions of each image, and name the image of each question."""
    n_questions = generator.integers(*sizes, n_images, endpoint=True)
    return np.repeat(np.arange(n_images), n_questions).astype(float)


def draw_answers(
    generator: np.random.Generator, images: Array, mean: float, correlation: float
) -> Array:
    """Draw right and wrong answers; those to one image are correlated."""
    n_images = int(images.max()) + 1
    if correlation == 0:
        return (generator.random(len(images)) < mean).astype(float)
    scale = (1 - correlation) / correlation
    chances = generator.beta(mean * scale, (1 - mean) * scale, n_images)
    return np.asarray(generator.random(len(images)) < chances[images.astype(int)], dtype=float)


def count(run: Callable[[np.random.Generator], bool], seed: int = 0) -> int:
    generator = np.random.default_rng(seed)
    return sum(run(generator) for _ in range(N_RUNS))


@pytest.mark.parametrize(
    ("n_images", "sizes", "mean", "correlation"),
    [
        (300, (1, 1), 0.9, 0.0),
        (300, (1, 9), 0.6, 0.3),
        (100, (10, 10), 0.9, 0.2),
        (400, (1, 1), 0.99, 0.0),
    ],
)
def test_the_interval_of_the_accuracy_holds_the_truth(
    n_images: int, sizes: tuple[int, int], mean: float, correlation: float
) -> None:
    def holds(generator: np.random.Generator) -> bool:
        images = draw_images(generator, n_images, sizes)
        answers = draw_answers(generator, images, mean, correlation)
        return accuracy(answers, images.tolist(), bootstrap=BOOTSTRAP).interval.holds(mean)

    assert least(0.95) <= count(holds) <= most(0.97)


def test_without_clusters_the_interval_is_too_narrow() -> None:
    def holds(generator: np.random.Generator) -> bool:
        images = draw_images(generator, 100, (10, 10))
        answers = draw_answers(generator, images, 0.6, 0.3)
        return accuracy(answers, bootstrap=BOOTSTRAP).interval.holds(0.6)

    assert count(holds) < least(0.8)


def draw_pair(
    generator: np.random.Generator, n_images: int, size: int, lost: float, gained: float
) -> tuple[Array, Array, list[int]]:
    """Draw a baseline and a run that loses and gains answers, image by image half of the time."""
    images = draw_images(generator, n_images, (size, size))
    base = draw_answers(generator, images, 0.7, 0.2)
    by_image = generator.random(n_images)[images.astype(int)]
    alone = generator.random(len(images))
    chance = np.where(generator.random(n_images)[images.astype(int)] < 0.5, by_image, alone)
    # A right answer is lost, a wrong one gained; the chances are of all questions.
    flips = chance < np.where(base == 1, lost / 0.7, gained / 0.3)
    return np.where(flips, 1 - base, base), base, images.astype(int).tolist()


@pytest.mark.parametrize(("lost", "gained"), [(0.03, 0.03), (0.08, 0.02)])
def test_the_interval_of_a_difference_holds_the_truth(lost: float, gained: float) -> None:
    def holds(generator: np.random.Generator) -> bool:
        own, base, images = draw_pair(generator, 150, 4, lost, gained)
        return paired_difference(own, base, images, bootstrap=BOOTSTRAP).interval.holds(
            gained - lost
        )

    assert least(0.95) <= count(holds) <= most(0.97)


def test_few_questions_that_changed_do_not_make_the_interval_too_narrow() -> None:
    def holds(generator: np.random.Generator) -> bool:
        own, base, images = draw_pair(generator, 500, 1, 0.004, 0.002)
        return paired_difference(own, base, images, bootstrap=BOOTSTRAP).interval.holds(-0.002)

    assert count(holds) >= least(0.95)


def test_the_bootstrap_finds_no_difference_where_there_is_none() -> None:
    def finds(generator: np.random.Generator) -> bool:
        own, base, images = draw_pair(generator, 150, 4, 0.05, 0.05)
        return paired_difference(own, base, images, bootstrap=BOOTSTRAP).p_value < 0.05

    assert least(0.03) <= count(finds) <= most(0.05)


def test_mcnemar_takes_questions_about_one_image_for_more_than_they_are() -> None:
    found = [
        paired_difference(
            *draw_pair(np.random.default_rng(seed), 60, 10, 0.1, 0.1), bootstrap=BOOTSTRAP
        )
        for seed in range(N_RUNS)
    ]
    by_mcnemar = [one.mcnemar_p_value for one in found]

    assert sum(p is not None and p < 0.05 for p in by_mcnemar) > most(0.1)
    assert sum(one.p_value < 0.05 for one in found) <= most(0.06)


def test_mcnemar_keeps_its_level_on_questions_that_share_no_image() -> None:
    def finds(generator: np.random.Generator) -> bool:
        own, base, images = draw_pair(generator, 300, 1, 0.05, 0.05)
        found = paired_difference(own, base, images, bootstrap=BOOTSTRAP)
        assert found.test == MCNEMAR_TEST
        return found.p_value < 0.05

    assert 0 < count(finds) <= most(0.05)


def test_a_true_difference_is_found() -> None:
    def finds(generator: np.random.Generator) -> bool:
        own, base, images = draw_pair(generator, 200, 4, 0.12, 0.02)
        return paired_difference(own, base, images, bootstrap=BOOTSTRAP).p_value < 0.05

    assert count(finds) > least(0.95)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_number_of_questions_needed_is_enough_and_not_too_many(share: float) -> None:
    margin, changed = 0.06, 0.12
    lost, gained = changed / 2 + share * margin / 2, changed / 2 - share * margin / 2
    own, base, images = draw_pair(np.random.default_rng(9), 20_000, 3, lost, gained)
    large = equivalence(paired_difference(own, base, images, bootstrap=BOOTSTRAP), margin)
    needed = large.n_questions_needed_as_observed if share else large.n_questions_needed
    assert needed is not None

    def tells(generator: np.random.Generator) -> bool:
        pair = draw_pair(generator, round(needed / 3), 3, lost, gained)
        return equivalence(paired_difference(*pair, bootstrap=BOOTSTRAP), margin).verdict == "yes"

    assert least(0.77) <= count(tells) <= most(0.83)


def test_runs_that_differ_by_the_margin_are_seldom_called_equal() -> None:
    def tells(generator: np.random.Generator) -> bool:
        pair = draw_pair(generator, 300, 3, 0.08, 0.03)
        return equivalence(paired_difference(*pair, bootstrap=BOOTSTRAP), 0.05).verdict == "yes"

    assert count(tells) <= most(0.05)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 20])
def test_the_interval_of_a_median_holds_it_as_often_as_it_says(n: int) -> None:
    def holds(generator: np.random.Generator) -> bool:
        found = median_interval(generator.lognormal(size=n).tolist())
        return found is not None and found.holds(1.0)

    assert least(0.95) <= count(holds) <= most(0.95)
