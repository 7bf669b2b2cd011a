"""The main chart of a series: the change in accuracy against the speed-up, or what remains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.speed_scope import at_batch_size, axis_title, speed_caption
from moe_eval_plugin.report.charts.base import Figure
from moe_eval_plugin.report.charts.trade_off.draw import Axes, drawn
from moe_eval_plugin.report.charts.trade_off.layout import Words, rows
from moe_eval_plugin.report.charts.trade_off.points import (
    accuracy_points,
    changes_over_k,
    trade_off_points,
)
from moe_eval_plugin.report.charts.trade_off.window import (
    LEAST_SHARE,
    LEAST_SPEED_UPS,
    MARGINS_SHOWN,
    window_of_all,
    windows_of_changes,
)
from moe_eval_plugin.text import HUNDRED, points_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.trade_off.points import PlotPoint
    from moe_eval_plugin.report.charts.trade_off.window import Window

CHANGE = "change in accuracy, points"
CHANGE_LABEL = "datum.value == 0 ? '0' : format(datum.value, '+~r')"
OVER_K = "k, routed experts per token"
MIN_POINTS = 2


@dataclass(frozen=True)
class MainChart:
    """The main chart of a series."""

    figure: Figure
    has_margins: bool
    """Whether it shows a margin, which can be changed."""
    has_off_scale: bool
    """Whether settings lie off its scale at some margin."""


def main_chart(
    by_margin: Mapping[str, SeriesStatistics], shown: str, name: str
) -> MainChart | None:
    """Return the best chart that a series allows; ``None`` where it has a single point.

    ``by_margin`` has the statistics of the series at each margin, by the margin in points, and
    ``shown`` is the margin to begin with. Where speed-ups are known, the change in accuracy is
    drawn against them, otherwise against k; without a baseline it is the accuracy.
    """
    numbers = by_margin[shown]
    margins = [float(margin) for margin in by_margin]
    points, over_k = trade_off_points(numbers), changes_over_k(numbers)
    if len(points) >= MIN_POINTS:
        windows = windows_of_changes(points, margins, LEAST_SPEED_UPS)
        return _of_changes(by_margin, windows, shown, name, against_speed=True)
    if len(over_k) >= MIN_POINTS:
        windows = windows_of_changes(over_k, margins, 1.0)
        return _of_changes(by_margin, windows, shown, name, against_speed=False)
    points = accuracy_points(numbers)
    return _of_accuracy(numbers, points, name) if len(points) >= MIN_POINTS else None


def _of_changes(
    by_margin: Mapping[str, SeriesStatistics],
    windows: Sequence[Window],
    shown: str,
    name: str,
    *,
    against_speed: bool,
) -> MainChart:
    numbers = by_margin[shown]
    baseline = numbers.series.baseline
    published = baseline.label if baseline else ""
    marked = {
        window.name: by_margin[window.name.removesuffix(" all")].recommended for window in windows
    }
    words = Words(
        published=" (published)",
        unit_of_x="×" if against_speed else "",
        band=f"shaded: within {{}} of {published}",
    )
    axes = Axes(
        x=f"speed-up over {published}{at_batch_size(numbers)}" if against_speed else OVER_K,
        x_label="format(datum.value, '.2~f') + '×'" if against_speed else "datum.label",
        y=CHANGE,
        y_label=CHANGE_LABEL,
    )
    each = "setting" if numbers.equal_price else "k"
    what = f"What each {each} costs and gains" if against_speed else f"What each {each} costs"
    speed = f"Speed: questions per second, {speed_caption([numbers])}. " if against_speed else ""
    figure = Figure(
        name=name,
        title=what,
        caption=(
            f"Up {'and to the right ' * against_speed}is better. The shaded band holds the "
            f"settings that lose no more than the margin. Bars are 95% intervals. {speed}A setting "
            f"that loses more than {MARGINS_SHOWN} margins is named below the scale."
        ),
        description=spoken(what, windows, words),
        chart=drawn(windows, shown, list(rows(windows, marked, words)), axes, words),
    )
    has_off_scale = any(window.off for window in windows)
    return MainChart(figure, has_margins=True, has_off_scale=has_off_scale)


def _of_accuracy(numbers: SeriesStatistics, points: Sequence[PlotPoint], name: str) -> MainChart:
    timed = all(one.samples_per_s is not None for one in numbers.points)
    is_share = numbers.scale == HUNDRED
    least = LEAST_SHARE * max(one.x.value for one in points) if timed else 1.0
    limits = (0.0, HUNDRED) if is_share else (-math.inf, math.inf)
    window = window_of_all(points, least, limits)
    words = Words(published=" (published)", unit_of_x="", band="")
    axes = Axes(
        x=axis_title([numbers]) if timed else OVER_K,
        x_label="datum.label",
        y="accuracy (%)" if is_share else numbers.series.metric,
        y_label="datum.label",
    )
    what = f"Accuracy against {'questions per second' if timed else 'k'}"
    figure = Figure(
        name=name,
        title=what,
        caption=f"Up {'and to the right ' * timed}is better. Bars are 95% intervals.",
        description=spoken(what, [window], words),
        chart=drawn([window], window.name, list(rows([window], {}, words)), axes, words),
    )
    return MainChart(figure, has_margins=False, has_off_scale=False)


def spoken(what: str, windows: Sequence[Window], words: Words) -> str:
    """Return the numbers of a chart as text, from the window that shows most."""
    points = windows[-1].shown
    parts = [
        f"{one.label}: {points_text(one.y.value)} at {one.x.value:.4g}{words.unit_of_x}"
        for one in points
    ]
    return f"{what}. {'. '.join(parts)}."
