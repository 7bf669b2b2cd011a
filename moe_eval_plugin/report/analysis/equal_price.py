"""Compare schedules and policies with the uniform k that costs as much."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.analysis.point_speed import speed_ratio_of
from moe_eval_plugin.report.analysis.pooled_scores import paired
from moe_eval_plugin.report.analysis.series_statistics import EqualPrice, PriceVerdict
from moe_eval_plugin.stats.paired import SIGNIFICANT, adjust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics
    from moe_eval_plugin.report.series import Series

# Below this much more, two prices count as the same.
SAME_PRICE = 0.02


def compare_at_equal_price(
    series: Series, found: Sequence[PointStatistics]
) -> tuple[EqualPrice, ...]:
    """Return each schedule and policy against the uniform k of its price, without a verdict.

    That is the smallest uniform k of the series whose observed k is at least that of the setting,
    or less by no more than ``SAME_PRICE``. Their p-values are adjusted for their number.
    """
    uniform = [one for one in found if one.point.kind is SettingKind.UNIFORM and one.point.price]
    rows = [
        _compared(series, one, _partner(one.point.price, uniform))
        for one in found
        if one.point.kind is not SettingKind.UNIFORM and one.point.price
    ]
    tested = {str(n): row.difference for n, row in enumerate(rows) if row.difference is not None}
    adjusted = adjust(tested)
    return tuple(
        replace(row, difference=adjusted.get(str(n)), n_comparisons=len(adjusted))
        for n, row in enumerate(rows)
    )


def judge_prices(
    rows: Sequence[EqualPrice], series: Series, smoke_test: Sequence[str] = ()
) -> tuple[EqualPrice, ...]:
    """Return the comparisons with their verdicts; a smoke test judges none."""
    unjudged = (replace(row, verdict=PriceVerdict.NOTHING, reason="") for row in rows)
    return tuple(_judged(row, series, smoke_test) for row in unjudged)


def _partner(price: float, uniform: Sequence[PointStatistics]) -> PointStatistics | None:
    enough = [
        one for one in uniform if one.point.price and one.point.price >= price * (1 - SAME_PRICE)
    ]
    return min(enough, key=lambda one: one.point.price or 0.0, default=None)


def _compared(series: Series, one: PointStatistics, other: PointStatistics | None) -> EqualPrice:
    price = one.point.price or 0.0
    published = one.point.first.facts.baseline_num_experts_per_tok
    row = EqualPrice(
        setting=one.point.label,
        kind=one.point.kind,
        price=price,
        share=price / published if published else None,
        uniform=other.point.label if other else None,
        uniform_price=other.point.price if other else None,
        nearest_k=math.ceil(price * (1 - SAME_PRICE)),
    )
    if other is None:
        return row
    difference = paired(one.questions, other.questions, series.bounds)
    speed = speed_ratio_of(one.point, other.point, one.batch_size)
    return replace(row, difference=difference, speed=speed)


def _judged(row: EqualPrice, series: Series, smoke_test: Sequence[str]) -> EqualPrice:
    """Return a comparison with its verdict, or with why there is none."""
    reason = _not_judged_because(row, series, smoke_test)
    if reason or row.difference is None:
        return replace(row, reason=reason)
    p = row.difference.adjusted_p_value
    if p is None or p > SIGNIFICANT or row.difference.difference == 0:
        return replace(row, verdict=PriceVerdict.NOT_BETTER)
    gains = (row.difference.difference > 0) is not series.is_lower_better
    return replace(row, verdict=PriceVerdict.BETTER if gains else PriceVerdict.WORSE)


def _not_judged_because(row: EqualPrice, series: Series, smoke_test: Sequence[str]) -> str:
    if row.uniform is None:
        return f"run k={row.nearest_k} as well"
    if row.difference is None:
        unknown = series.left_out.unknown if series.left_out else ()
        if {row.setting, row.uniform} & set(unknown):
            return "calibration questions not known without --log_samples"
        return "no questions in common"
    return "smoke test" if smoke_test else ""
