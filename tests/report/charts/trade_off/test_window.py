"""The main chart shows the region that decides, does not magnify noise, and has few ticks."""

from __future__ import annotations

import pytest

from moe_eval_plugin.report.charts.trade_off.points import PlotPoint, Range
from moe_eval_plugin.report.charts.trade_off.window import (
    LEAST_SPEED_UPS,
    MOST_TICKS,
    Window,
    nice_ticks,
    window_of_all,
    windows_of_changes,
)


def point(label: str, x: float, y: float, half: float = 0.3) -> PlotPoint:
    is_baseline = label == "k=8"
    ends = 0.0 if is_baseline else half
    return PlotPoint(
        label,
        Range(x, x - ends / 10, x + ends / 10),
        Range(y, y - ends, y + ends),
        is_baseline,
        on_front=True,
    )


POINTS = [point("k=8", 1, 0), point("k=4", 1.2, -0.5), point("k=2", 1.4, -3), point("k=1", 2, -40)]


def windows(points: list[PlotPoint] = POINTS) -> dict[str, Window]:
    found = windows_of_changes(points, [0.5, 1, 5], LEAST_SPEED_UPS)
    return {one.name: one for one in found}


def labels(points: tuple[PlotPoint, ...]) -> list[str]:
    return [one.label for one in points]


def test_settings_that_lose_more_than_five_margins_are_off_the_scale() -> None:
    found = windows()

    assert labels(found["1"].shown) == ["k=8", "k=4", "k=2"]
    assert labels(found["1"].off) == ["k=1"]
    assert labels(found["0.5"].off) == ["k=2", "k=1"]
    assert found["5 all"].off == ()
    assert -5.5 < found["1"].y.low < -3.3
    assert found["1"].x.high < 1.6
    assert found["1 all"].y.low < -40.3


@pytest.mark.parametrize("name", ["0.5", "1", "5", "5 all"])
def test_the_band_is_seen_to_end_within_the_chart(name: str) -> None:
    window = windows()[name]

    assert window.y.holds(-window.margin)
    assert window.y.low < -1.1 * window.margin
    assert window.y.holds(0)


def test_noise_does_not_fill_the_axes() -> None:
    noise = [point("k=8", 1, 0), point("k=4", 1.003, 0.001, 0.002)]

    window = windows(noise)["1"]

    assert window.x.high - window.x.low >= LEAST_SPEED_UPS
    assert window.y.high - window.y.low >= 1.8


def test_an_interval_far_wider_than_the_margin_does_not_squash_the_chart() -> None:
    window = windows([point("k=8", 1, 0), point("k=4", 1.1, 0, 100)])["1"]

    assert window.y.low > -7
    assert window.y.high < 7


def test_where_only_the_baseline_would_be_left_all_are_drawn() -> None:
    window = windows([point("k=8", 1, 0), point("k=1", 2, -40)])["1"]

    assert labels(window.shown) == ["k=8", "k=1"]
    assert window.off == ()


def test_shares_do_not_leave_0_to_100() -> None:
    window = window_of_all([point("k=4", 1, 99.9), point("k=2", 2, 99.5)], 1.0, (0.0, 100.0))

    assert window.y.high == 100.0


@pytest.mark.parametrize(("low", "high"), [(-4.6, 0.8), (0.94, 1.31), (-66, 5), (0.1, 0.100_2)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)

    assert 2 <= len(ticks) <= MOST_TICKS + 1
    assert low <= min(ticks) <= max(ticks) <= high
    assert all(float(f"{tick:.6g}") == tick for tick in ticks)
