"""The second view of schedules and policies: accuracy over their price in experts per token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.charts.base import Figure, score_axis_title
from moe_eval_plugin.report.charts.trade_off.draw import Axes, drawn
from moe_eval_plugin.report.charts.trade_off.figure import CHANGE, CHANGE_LABEL, MIN_POINTS, spoken
from moe_eval_plugin.report.charts.trade_off.layout import Words, rows
from moe_eval_plugin.report.charts.trade_off.points import are_compared, price_points
from moe_eval_plugin.report.charts.trade_off.window import window_of_all
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

PRICE = "price: observed experts per token and layer"
NAME = "accuracy-at-price"


def price_view(numbers: SeriesStatistics, name: str = NAME) -> Figure | None:
    """Return the accuracy of all settings over their price, with a line through uniform k.

    ``None`` where all settings are a uniform k, or there are too few.
    """
    points = price_points(numbers)
    if len(points) < MIN_POINTS or all(one.kind is SettingKind.UNIFORM for one in points):
        return None
    compared = are_compared(numbers)
    is_share = numbers.scale == HUNDRED and not compared
    window = window_of_all(points, 1.0, (0.0, HUNDRED) if is_share else (-math.inf, math.inf))
    words = Words(published=" (published)", unit_of_x=" experts", band="")
    axes = Axes(
        x=PRICE,
        x_label="datum.label",
        y=CHANGE if compared else score_axis_title(numbers),
        y_label=CHANGE_LABEL if compared else "datum.label",
    )
    marked = {window.name: numbers.recommended}
    what = "Accuracy at each price"
    return Figure(
        name=name,
        title=what,
        caption=(
            "The line goes through uniform k: a schedule or policy above it is more accurate than "
            "a uniform k of its price, one below it is less accurate. Bars are 95% intervals of "
            f"the {'change' if compared else 'accuracy'}; the table has the paired tests. The "
            "price counts experts, not the time that a policy takes to decide."
        ),
        description=spoken(what, [window], words),
        chart=drawn([window], window.name, list(rows([window], marked, words)), axes, words),
    )
