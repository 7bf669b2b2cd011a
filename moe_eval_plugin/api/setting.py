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
    """One setting of a sweep on one task; ``None`` is not known or not measured.

    Accuracies and losses are in percent and points of 100 for scores from 0 to 1, else in the
    unit of the score. Intervals are 95% intervals.
    """

    task: str
    """Name of the task."""
    model: str
    """The model, and what distinguishes its runs from others of the folder."""
    label: str
    """The setting in words, for instance ``k=4``."""
    k: float | None
    """Requested k, or else the observed one."""
    observed_k: float | None
    """Routed experts per token that were counted, mean over tokens and layers."""
    is_baseline: bool
    """Whether it is the model as published."""
    accuracy: float
    """Mean score of the questions."""
    accuracy_interval: tuple[float, float] | None
    """Its interval."""
    n_questions: int | None
    """Questions that were scored."""
    loss: float | None
    """Accuracy that it loses against the published k; below 0 where it gains."""
    loss_interval: tuple[float, float] | None
    """Interval of the loss, on the same questions."""
    questions_per_s: float | None
    """Questions per second: of the timed pass, else while answering."""
    speed_up: SpeedRatio | None
    """Its speed divided by that of the published k."""
    results: tuple[Path, ...]
    """Its results files: one for each seed."""
    kind: str = SettingKind.UNIFORM.value
    """``uniform k``, ``schedule by hand``, ``searched schedule`` or ``policy``."""
    price_share: float | None = None
    """Its observed experts per token and layer as a share of the published k."""
    predicted_speed_up: float | None = None
    """What a search that counts time, or else the cost model, expects of its speed."""
    tuning: TuningRecord | None = None
    """How its schedule or policy was found, if ``moe-eval tune`` found it."""


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
