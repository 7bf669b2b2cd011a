from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from moe_eval_plugin.stats.interleaved import MIN_BLOCKS, block_order, is_precise
from moe_eval_plugin.stats.speed import SpeedRatio, paired_ratio

SETTINGS = ("k8", "k4", "k2", "k1")


def test_each_block_times_every_setting_once_in_an_order_that_can_be_repeated() -> None:
    orders = [block_order(SETTINGS, number, seed=3) for number in range(50)]

    assert all(sorted(order) == sorted(SETTINGS) for order in orders)
    assert orders == [block_order(SETTINGS, number, seed=3) for number in range(50)]
    assert orders != [block_order(SETTINGS, number, seed=4) for number in range(50)]
    assert len(set(orders)) > 10


def test_each_setting_has_each_place_and_follows_each_other_one_about_equally_often() -> None:
    orders = [block_order(SETTINGS, number) for number in range(1200)]

    places = Counter((name, place) for order in orders for place, name in enumerate(order))
    follows = Counter(pair for order in orders for pair in pairwise(order))

    assert len(places) == 16
    assert all(240 < n < 360 for n in places.values())
    assert len(follows) == 12
    assert all(240 < n < 360 for n in follows.values())


def ratio(n_blocks: int, scatter: float) -> SpeedRatio:
    seconds = [1 + scatter * (-1) ** number for number in range(n_blocks)]
    return paired_ratio(seconds, [1.5] * n_blocks, repeated_looks=True)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([ratio(MIN_BLOCKS, 0.01)], True),
        ([ratio(MIN_BLOCKS - 1, 0.01)], False),
        ([ratio(MIN_BLOCKS, 0.01), ratio(MIN_BLOCKS, 0.1)], False),
        ([ratio(1, 0.0)], False),
        ([None], False),
        ([], True),
    ],
)
def test_a_pass_ends_when_every_interval_is_narrow_and_enough_blocks_are_counted(
    ratios: list[SpeedRatio | None], expected: object
) -> None:
    assert is_precise(ratios, 0.03) is expected
