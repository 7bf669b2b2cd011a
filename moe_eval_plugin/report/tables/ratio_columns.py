"""The columns of prices and of speed-ups: with their intervals, and one for each batch size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.tables.column import NOT_KNOWN, Column
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.tables.column import Reader
    from moe_eval_plugin.stats import Interval, SpeedRatio

MEANING = (
    "Speed divided by that of the published k: median ratio over blocks, or over runs. The two "
    "rates are those of all blocks together, so their ratio differs slightly"
)


def _kind(numbers: SeriesStatistics, one: PointStatistics) -> str | None:
    """Return the kind of a setting; nothing where all settings are a uniform k."""
    kinds = {each.point.kind for each in numbers.points}
    return one.point.kind.value if kinds != {SettingKind.UNIFORM} else None


def _priced(read: Reader) -> Reader:
    """Return a reader for series with a schedule or a policy."""
    return lambda numbers, one: read(numbers, one) if numbers.equal_price else None


PRICE_COLUMNS: tuple[Column, ...] = (
    Column("kind", "Kind", "Uniform k, schedule by hand, searched schedule, or policy", _kind),
    Column(
        "price_share",
        "Of published k",
        "Observed experts per token and layer as a share of the published k",
        _priced(lambda s, p: s.price_share(p)),
        show=lambda s, p: f"{(s.price_share(p) or 0) * HUNDRED:.0f}%",
    ),
    Column(
        "predicted_speed_up",
        "Speed-up, predicted",
        "By the measured times of a search that counts time, or else by the cost model, if only "
        "FLOPs took time",
        _priced(lambda s, p: s.predicted_speed_up(p)),
        2,
    ),
    Column(
        "n_tried",
        "Settings tried",
        "Settings whose loss was measured while `moe-eval tune` chose this one",
        lambda _, p: p.point.tuning.n_tried if p.point.tuning else None,
    ),
    Column(
        "measured_loss",
        "Loss, calibration",
        "KL divergence from the published model on the calibration prompts, nats per answer token",
        lambda _, p: p.point.tuning.measured_loss if p.point.tuning else None,
    ),
)


def speed_up_text(one: PointStatistics, ratio: SpeedRatio | None) -> str:
    """Return a speed-up with its interval, for a table."""
    if ratio is None:
        return NOT_KNOWN
    return f"{ratio.ratio:.2f}×" if one.point.is_baseline else ratio.text


def ratio_columns(
    key: str, heading: str, meaning: str, pick: Callable[[PointStatistics], SpeedRatio | None]
) -> tuple[Column, ...]:
    """Return the columns of a speed-up and the ends of its interval."""

    def end(read: Callable[[Interval], float]) -> Reader:
        def read_end(_: SeriesStatistics, one: PointStatistics) -> float | None:
            ratio = None if one.point.is_baseline else pick(one)
            return read(ratio.interval) if ratio and ratio.interval else None

        return read_end

    def value(_: SeriesStatistics, one: PointStatistics) -> float | None:
        ratio = pick(one)
        return ratio.ratio if ratio else None

    return (
        Column(key, heading, meaning, value, 2),
        Column(f"{key}_low", "from", "Lower end of its 95% interval", end(lambda i: i.low), 2),
        Column(f"{key}_high", "to", "Upper end of its 95% interval", end(lambda i: i.high), 2),
    )


def short_ratio_columns(series: Sequence[SeriesStatistics]) -> tuple[Column, ...]:
    """Return the speed-ups of the summary with their intervals, one for each batch size."""
    sizes, others = _sizes_shown_first(series), _other_sizes(series)
    at = f", batch size {sizes.pop()}" if len(sizes) == 1 and others else ""
    speed_up, *_ = ratio_columns(
        "speed_up", f"Speed-up{at} (95% interval)", MEANING, lambda one: one.speed_up
    )
    shown = replace(speed_up, show=lambda _, one: speed_up_text(one, one.speed_up))
    return (shown, *map(_short_ratio, others))


def columns_of_other_sizes(series: Sequence[SeriesStatistics]) -> tuple[Column, ...]:
    """Return the rates and speed-ups at batch sizes other than the one that is shown first."""

    def rate(size: int) -> Reader:
        return lambda _, one: one.timed[size].speed.samples_per_s if size in one.timed else None

    return tuple(
        column
        for size in _other_sizes(series)
        for column in (
            Column(
                f"samples_per_s_batch_{size}",
                f"Questions/s, batch size {size}",
                f"Questions per second in the timed pass at batch size {size}",
                rate(size),
            ),
            *ratio_columns(
                f"speed_up_batch_{size}",
                f"Speed-up, batch size {size}",
                f"Speed divided by that of the published k, at batch size {size}",
                _ratio_at(size),
            ),
        )
    )


def _short_ratio(size: int) -> Column:
    value, *_ = ratio_columns(
        f"speed_up_batch_{size}",
        f"Speed-up, batch size {size}",
        f"Speed divided by that of the published k, at batch size {size}",
        _ratio_at(size),
    )
    return replace(value, show=lambda _, one: speed_up_text(one, _ratio_at(size)(one)))


def _ratio_at(size: int) -> Callable[[PointStatistics], SpeedRatio | None]:
    return lambda one: one.timed[size].speed_up if size in one.timed else None


def _sizes_shown_first(series: Sequence[SeriesStatistics]) -> set[int]:
    return {one.batch_size for numbers in series for one in numbers.points if one.batch_size}


def _other_sizes(series: Sequence[SeriesStatistics]) -> list[int]:
    """List the batch sizes that were timed, without one that all series show first."""
    found = {size for numbers in series for one in numbers.points for size in one.timed}
    first = _sizes_shown_first(series)
    return sorted(found - first if len(first) == 1 else found)
