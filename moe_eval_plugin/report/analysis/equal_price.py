"""Compare schedules and policies with the uniform k that costs as much."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.analysis.point_speed import speed_ratio_of
from moe_eval_plugin.report.analysis.pooled_scores import paired
from moe_eval_plugin.stats.paired import adjust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics
    from moe_eval_plugin.report.series import Series
    from moe_eval_plugin.stats import PairedDifference, SpeedRatio

# Below this much more, two prices count as the same.
SAME_PRICE = 0.02
SIGNIFICANT = 0.05


class PriceVerdict(Enum):
    """What is shown of a setting against the uniform k of its price; the value is in words."""

    BETTER = "better"
    NOT_BETTER = "not better"
    WORSE = "worse"
    NOTHING = "not judged"


@dataclass(frozen=True)
class EqualPrice:
    """A schedule or policy against the uniform k of its price; ``None`` is not known."""

    setting: str
    """Label of the setting."""
    kind: SettingKind
    """Its kind."""
    price: float
    """Its observed experts per token and layer."""
    share: float | None
    """The same as a share of the published k."""
    uniform: str | None
    """Label of the smallest uniform k that costs as much; ``None`` where none was run."""
    uniform_price: float | None
    """Observed experts per token and layer of this k."""
    nearest_k: int
    """The smallest uniform k that would cost as much."""
    difference: PairedDifference | None = None
    """Its accuracy minus that of the uniform k, on the same questions."""
    speed: SpeedRatio | None = None
    """Its speed divided by that of the uniform k."""
    verdict: PriceVerdict = PriceVerdict.NOTHING
    """What is shown of its accuracy, at the 5% level after Holm's adjustment."""
    reason: str = ""
    """Why it is not judged."""
    n_comparisons: int = 1
    """Comparisons that the p-values are adjusted for."""

    @property
    def is_nearest(self) -> bool:
        """Whether no smaller uniform k, which was not run, would cost as much."""
        return self.uniform_price is not None and self.uniform_price < self.nearest_k + 1

    @property
    def is_faster(self) -> bool:
        """Whether it is shown to be faster than the uniform k."""
        return self.speed is not None and self.speed.excludes_one and self.speed.ratio > 1

    @property
    def earns_its_place(self) -> bool:
        """Whether it may be recommended: better than the uniform k, or as right and faster.

        Without a uniform k of its price, nothing speaks against it.
        """
        if self.uniform is None or self.verdict is PriceVerdict.BETTER:
            return True
        return self.verdict is not PriceVerdict.WORSE and self.is_faster


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
