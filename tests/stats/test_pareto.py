"""Pareto front, knee, and the fastest point that is good enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats.paired import PairedDifference, paired_difference
from moe_eval_plugin.stats.pareto import (
    TradeOffPoint,
    closest_to_certain,
    fastest_within,
    knee,
    pareto_front,
    per_correct_answer,
)
from moe_eval_plugin.stats.resampling import Bootstrap, Interval
from moe_eval_plugin.stats.speed import SpeedRatio

BASELINE = TradeOffPoint("k=8", 0.80, 10.0)
FASTER = SpeedRatio(1.8, Interval(1.7, 1.9, 0.95), 8)
levels = st.integers(0, 6).map(float)
some_points = st.lists(st.builds(TradeOffPoint, st.text(max_size=3), levels, levels), max_size=12)


def beats(one: TradeOffPoint, other: TradeOffPoint) -> bool:
    at_least = one.score >= other.score and one.samples_per_s >= other.samples_per_s
    return at_least and (one.score > other.score or one.samples_per_s > other.samples_per_s)


@given(some_points)
def test_the_front_is_what_no_point_beats(points: list[TradeOffPoint]) -> None:
    front = pareto_front(points)

    for point in points:
        assert (point in front) == (not any(beats(other, point) for other in points))
    assert len(front) == sum(point in front for point in points)
    speeds = [point.samples_per_s for point in front]
    assert speeds == sorted(speeds)


@given(some_points)
def test_the_knee_is_a_point_of_the_front_between_its_ends(points: list[TradeOffPoint]) -> None:
    found = knee(points)

    if found is not None:
        front = pareto_front(points)
        assert found in front
        assert front[0].samples_per_s < found.samples_per_s < front[-1].samples_per_s
        assert front[0].score > found.score > front[-1].score


def test_the_knee_is_where_speed_begins_to_cost() -> None:
    cheap, dear = TradeOffPoint("k=4", 0.79, 18.0), TradeOffPoint("k=2", 0.60, 22.0)
    points = [TradeOffPoint("k=1", 0.30, 26.0), dear, cheap, BASELINE]

    assert knee(points) == cheap


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_the_knee_does_not_depend_on_units(speed_unit: float, score_unit: float) -> None:
    values = [("k=8", 0.8, 10.0), ("k=4", 0.79, 18.0), ("k=2", 0.60, 22.0), ("k=1", 0.3, 26.0)]
    points = [TradeOffPoint(name, s * score_unit, v * speed_unit) for name, s, v in values]

    found = knee(points)

    assert found is not None
    assert found.name == "k=4"


@pytest.mark.parametrize(
    "points",
    [
        [],
        [BASELINE],
        [BASELINE, TradeOffPoint("k=4", 0.7, 20.0)],
        [BASELINE] * 4,
        # On the line, and below it.
        [BASELINE, TradeOffPoint("k=4", 0.7, 20.0), TradeOffPoint("k=2", 0.6, 30.0)],
        [BASELINE, TradeOffPoint("k=4", 0.65, 20.0), TradeOffPoint("k=2", 0.6, 30.0)],
    ],
)
def test_there_may_be_no_knee(points: list[TradeOffPoint]) -> None:
    found = knee(points)

    # Rounding leaves a point on the line above or below it by the last digit.
    assert found is None or found.score == pytest.approx(0.7)


def test_the_fastest_point_within_a_margin_is_found() -> None:
    points = [BASELINE, TradeOffPoint("k=4", 0.79, 18.0), TradeOffPoint("k=2", 0.785, 22.0)]

    assert fastest_within(points, BASELINE, 0.01) == points[1]
    assert fastest_within(points, BASELINE, 0.03) == points[2]
    assert fastest_within(points, BASELINE, 0.0) == BASELINE
    assert fastest_within([points[2]], BASELINE, 0.01) is None


def same(n: int) -> PairedDifference:
    return paired_difference([1.0] * n, [1.0] * n, bootstrap=Bootstrap(n_resamples=500))


def test_certainty_needs_questions_enough() -> None:
    few, many = (TradeOffPoint("k=4", 0.8, 18.0, same(n), FASTER) for n in (20, 2000))
    not_compared = TradeOffPoint("k=4", 0.8, 18.0, None, FASTER)

    assert fastest_within([BASELINE, few], BASELINE, 0.01, certain=True) == BASELINE
    assert fastest_within([BASELINE, many], BASELINE, 0.01, certain=True) == many
    assert fastest_within([BASELINE, not_compared], BASELINE, 0.01, certain=True) == BASELINE
    assert fastest_within([BASELINE, few], BASELINE, 0.01) == few
    assert closest_to_certain([BASELINE, few], BASELINE, 0.01) == few


@pytest.mark.parametrize(
    "speed_up",
    [
        None,
        SpeedRatio(1.8, None, None),
        SpeedRatio(1.8, Interval(0.9, 2.7, 0.95), 8),
    ],
)
def test_certainty_needs_a_speed_up_whose_interval_lies_above_1(
    speed_up: SpeedRatio | None,
) -> None:
    point = TradeOffPoint("k=4", 0.8, 18.0, same(2000), speed_up)

    assert fastest_within([BASELINE, point], BASELINE, 0.01, certain=True) == BASELINE
    assert closest_to_certain([BASELINE, point], BASELINE, 0.01) == point


def test_what_is_shown_to_be_slower_is_not_close_to_certain() -> None:
    slower = SpeedRatio(0.9, Interval(0.85, 0.95, 0.95), 8)
    point = TradeOffPoint("k=4", 0.8, 18.0, same(2000), slower)

    assert closest_to_certain([BASELINE, point], BASELINE, 0.01) is None
    assert fastest_within([BASELINE, point], BASELINE, 0.01, certain=True) == BASELINE


def test_a_shown_loss_within_the_margin_is_closer_to_certain_than_a_faster_point() -> None:
    shown = TradeOffPoint("k=6", 0.8, 12.0, same(2000))
    faster = TradeOffPoint("k=4", 0.8, 18.0, same(20), FASTER)

    assert closest_to_certain([BASELINE, shown, faster], BASELINE, 0.01) == shown
    assert closest_to_certain([BASELINE, faster], BASELINE, 0.001) == faster
    lost = TradeOffPoint("k=2", 0.5, 22.0)
    assert closest_to_certain([BASELINE, lost], BASELINE, 0.01) is None


@pytest.mark.parametrize("margin", [-0.01, float("nan")])
def test_a_margin_below_0_is_refused(margin: float) -> None:
    with pytest.raises(InvalidArgumentError, match="margin"):
        fastest_within([BASELINE], BASELINE, margin)


def test_amounts_are_shared_out_among_right_answers() -> None:
    assert per_correct_answer(30.0, 12.5) == 2.4
    assert per_correct_answer(None, 12.5) is None
    assert per_correct_answer(30.0, 0.0) is None
