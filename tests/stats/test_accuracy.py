"""Mean scores have an interval, and the runs of several seeds are pooled by question."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats import accuracy
from moe_eval_plugin.stats.accuracy import pool_seeds, right_from, score_bounds
from moe_eval_plugin.stats.paired import paired_difference
from tests.stats.drawn_scores import draw_scores


def test_images_with_many_questions_count_by_their_questions() -> None:
    # The mean is over questions, not over images.
    assert accuracy([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]).value == 0.75


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_that_are_all_equal_still_have_an_interval(score: float) -> None:
    few, many = accuracy([score] * 20).interval, accuracy([score] * 2000).interval

    assert few.holds(score)
    assert few.high - few.low > 0.1
    assert 0.001 < many.high - many.low < 0.01


def test_seeds_are_averaged_question_by_question() -> None:
    pooled = pool_seeds([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

    assert pooled.scores == (0.5, 0.0, 1.0)
    assert pooled.means == pytest.approx((2 / 3, 1 / 3))
    assert pooled.spread == pytest.approx(statistics.stdev([2 / 3, 1 / 3]))
    assert pool_seeds([[1.0]]).spread is None


def test_seeds_that_say_the_same_add_nothing() -> None:
    scores = draw_scores(100)

    assert accuracy(pool_seeds([scores] * 7).scores) == accuracy(scores)


@pytest.mark.parametrize("runs", [[], [[1.0], [1.0, 0.0]]])
def test_seeds_over_other_questions_are_refused(runs: list[list[float]]) -> None:
    with pytest.raises(DataError, match="cannot be pooled"):
        pool_seeds(runs)


def test_a_score_whose_square_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match=r"1\.33\S*e\+154 cannot be that of a question"):
        paired_difference([1.3346e154, 1.0], [1.3346e154, 1.0])
    assert paired_difference([1e100, 1.0], [1e100, 0.0]).standard_error > 0


@pytest.mark.parametrize("scores", [[], [float("nan")], [float("inf"), 1.0], [[1.0], [0.0]]])
def test_what_is_no_list_of_scores_is_refused(scores: Any) -> None:
    with pytest.raises(DataError, match="one finite score for each question"):
        accuracy(scores)


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 clusters for 1 questions"):
        accuracy([1.0], ["a", "b"])
    with pytest.raises(DataError, match="1 scores cannot be paired with 2"):
        paired_difference([1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("values", "bounds", "right"),
    [((0.2, 0.9), (0.0, 1.0), 0.5), ((0.0, 10.0), (0.0, 10.0), 5.0), ((-1.0, 1.0), (-1, 1), 0.0)],
)
def test_a_score_is_right_from_the_middle_of_its_range(
    values: tuple[float, ...], bounds: tuple[float, float], right: float
) -> None:
    assert score_bounds(values) == bounds
    assert right_from(bounds) == right
