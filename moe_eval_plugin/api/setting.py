"""One setting of a sweep: its accuracy, what it loses, and how fast it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.stats import SpeedRatio


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep on one task. ``None`` means unknown or not measured.

    Accuracies are in percent and losses in points, or in the unit of the score if the score is not
    from 0 to 1. Intervals are 95% intervals.
    """

    task: str
    """Name of the task."""
    model: str
    """The model, and what distinguishes its runs from others in the folder."""
    label: str
    """The name of the setting, for instance ``k=4``."""
    k: float | None
    """Requested k, or observed k if none was requested."""
    observed_k: float | None
    """Observed k: mean number of routed experts per token and layer."""
    is_baseline: bool
    """Whether this is the published k, the baseline."""
    accuracy: float
    """Accuracy, as the mean over the questions."""
    accuracy_interval: tuple[float, float] | None
    """Interval of the accuracy."""
    n_questions: int | None
    """Number of questions that were scored."""
    loss: float | None
    """Loss of accuracy against the published k; negative for a gain."""
    loss_interval: tuple[float, float] | None
    """Interval of the loss, on the same questions."""
    questions_per_s: float | None
    """Questions per second, in the timed pass or else while answering."""
    speed_up: SpeedRatio | None
    """Speed divided by the speed of the published k."""
    results: tuple[Path, ...]
    """Results files, one for each seed."""
    kind: str = SettingKind.UNIFORM.value
    """``uniform k``, ``schedule by hand``, ``searched schedule`` or ``policy``."""
    price_share: float | None = None
    """Observed k as a share of the published k."""
    predicted_speed_up: float | None = None
    """Speed-up that the search predicted if it counted time, or else the cost model."""
    tuning: TuningRecord | None = None
    """How ``moe-eval tune`` found the schedule or policy; ``None`` if it did not."""


def setting_of(numbers: SeriesStatistics, one: PointStatistics) -> Setting:
    """Return the numbers of a setting in the unit in which they are shown."""
    scale, difference = numbers.scale, one.difference
    interval = difference.interval if difference else None
    return Setting(
        task=numbers.series.task,
        model=numbers.series.name,
        label=one.point.label,
        k=one.point.k,
        observed_k=one.point.price,
        is_baseline=one.point.is_baseline,
        accuracy=one.accuracy * scale,
        accuracy_interval=_scaled(one.interval, scale),
        n_questions=one.n_questions,
        loss=0.0 - difference.difference * scale if difference else None,
        loss_interval=_scaled((interval.high, interval.low), -scale) if interval else None,
        questions_per_s=one.samples_per_s,
        speed_up=one.speed_up,
        results=tuple(run.run.path for run in one.point.runs),
        kind=one.point.kind.value,
        price_share=numbers.price_share(one),
        predicted_speed_up=numbers.predicted_speed_up(one),
        tuning=one.point.tuning,
    )


def _scaled(interval: tuple[float, float] | None, scale: float) -> tuple[float, float] | None:
    if interval is None:
        return None
    # Adding 0 makes 0 of a negative one.
    return interval[0] * scale + 0.0, interval[1] * scale + 0.0
