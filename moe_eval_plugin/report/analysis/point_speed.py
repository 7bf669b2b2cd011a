"""Speeds of a setting: those of the timed pass of its sweep, or else those of its own runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin import stats
from moe_eval_plugin.results.timing.of_run import size_shown

if TYPE_CHECKING:
    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.speed import TaskSpeed
    from moe_eval_plugin.report.series import ReportPoint, Series


@dataclass(frozen=True)
class TimedSpeed:
    """What a timed pass measured of a setting at one batch size."""

    n_blocks: int
    """Blocks that count."""
    speed: TaskSpeed
    """Counts, times, rates and latencies over these blocks."""
    hardware: HardwareUse
    """Memory and energy over these blocks."""
    speed_up: stats.SpeedRatio | None
    """Speed of requests, divided by the baseline's."""
    model_speed_up: stats.SpeedRatio | None
    """The same for calls of the model alone."""


def timed_speeds(point: ReportPoint) -> dict[int, TimedSpeed]:
    """Return what was measured of a setting in timed passes, by batch size."""
    timed = point.timed
    found: dict[int, TimedSpeed] = {}
    for one in timed.passes if timed else ():
        speed = one.speed(timed.name) if timed else None
        if timed and speed is not None:
            found[one.batch_size] = TimedSpeed(
                n_blocks=len(one.counted),
                speed=speed,
                hardware=one.hardware(timed.name),
                speed_up=one.speed_up(timed.name),
                model_speed_up=one.model_speed_up(timed.name),
            )
    return found


def batch_size_shown(series: Series) -> int | None:
    """Return the batch size whose speeds are shown first; ``None`` without a timed pass."""
    sizes = [one.batch_size for one in series.passes if one.counted]
    answering = (series.baseline or series.points[0]).first.setup.batch_size
    return size_shown(sizes, answering)


def speed_up_of_runs(point: ReportPoint, baseline: ReportPoint) -> stats.SpeedRatio | None:
    """Return how many times as fast as the baseline the runs of a setting answered.

    Runs of the same seed make a pair; with one run, or without such pairs, there is no interval.
    ``None`` where speeds were not measured, or are those of the task, as questions shared images.
    """
    runs = (*point.runs, *baseline.runs)
    own = [run.samples_per_s for run in point.runs]
    base = [run.samples_per_s for run in baseline.runs]
    if any(run.is_shared for run in runs) or not (all(own) and all(base)):
        return None
    if point.is_baseline:
        return stats.SpeedRatio(1.0, None, None)
    by_seed, base_by_seed = _rates_by_seed(point), _rates_by_seed(baseline)
    if len(by_seed) > 1 and by_seed.keys() == base_by_seed.keys():
        pairs = [(rate, base_by_seed[seed]) for seed, rate in by_seed.items()]
        return stats.speed_ratio([one for one, _ in pairs], [other for _, other in pairs])
    return stats.speed_ratio(
        [rate for rate in own if rate], [rate for rate in base if rate], paired=False
    )


def speed_ratio_of(
    point: ReportPoint, other: ReportPoint, batch_size: int | None
) -> stats.SpeedRatio | None:
    """Return how many times as fast as any other setting one is; ``None`` where not measured.

    It is the ratio of the timed pass at this batch size, or of the runs where that is ``None``.
    """
    if batch_size is None:
        return speed_up_of_runs(point, other)
    own, base = point.timed, other.timed
    for one in own.passes if own and base else ():
        is_in = base is not None and base.name in one.settings
        if own and base and is_in and one.batch_size == batch_size:
            return one.ratio(own.name, base.name)
    return None


def _rates_by_seed(point: ReportPoint) -> dict[object, float]:
    """Return the rate of each seed; nothing unless each run has a seed of its own."""
    seeds = [run.setup.values.get("seed") for run in point.runs]
    if None in seeds or len(set(map(str, seeds))) < len(seeds):
        return {}
    return {
        str(seed): rate
        for seed, run in zip(seeds, point.runs, strict=True)
        if (rate := run.samples_per_s) is not None
    }
