"""Tables of schedules and policies: at equal price, and what was predicted of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.answer.prices import percent_text, speed_text, verdict_text
from moe_eval_plugin.report.tables.column import NOT_KNOWN, Cell, Column, number_text
from moe_eval_plugin.report.tables.table import Table
from moe_eval_plugin.text import p_value_text, points_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
    from moe_eval_plugin.report.analysis.series_statistics import (
        EqualPrice,
        PointStatistics,
        SeriesStatistics,
    )
    from moe_eval_plugin.report.tables.column import Value
    from moe_eval_plugin.stats import SpeedRatio


def _column(key: str, heading: str, meaning: str) -> Column:
    return Column(key, heading, meaning, lambda _, __: None)


SETTING = _column("setting", "Setting", "The schedule or policy")
EQUAL_PRICE = (
    SETTING,
    _column("verdict", "Verdict on accuracy", "What a paired test at the 5% level shows"),
    _column(
        "difference",
        "Accuracy, points (95% interval)",
        "Accuracy minus that of the uniform k, on the same questions",
    ),
    _column("p_value_holm", "p (Holm)", "p-value, adjusted for the comparisons of this table"),
    _column(
        "speed",
        "Speed (95% interval)",
        "Speed divided by that of the uniform k, with the time that a policy takes to decide",
    ),
    _column(
        "price",
        "Experts",
        "Observed experts per token and layer, on average, and as a share of the published k",
    ),
    _column(
        "uniform_price",
        "Than",
        "The smallest uniform k that was run and costs as much, within 2%",
    ),
    _column(
        "skipped",
        "Skipped by the policy",
        "Share of the chosen experts that the policy skipped, of text and of image tokens",
    ),
    _column("kind", "Kind", "Schedule by hand, searched schedule, or policy"),
)
PREDICTED = (
    SETTING,
    _column("n_tried", "Settings tried", "Settings whose loss was measured while choosing"),
    _column(
        "predicted_speed_up",
        "Speed-up, predicted",
        "Speed-up over the published k by the measured times of a search that counts time, or else "
        "by the cost model, if only FLOPs took time",
    ),
    _column("speed_up", "measured (95% interval)", "Speed-up over the published k, as measured"),
    _column("predicted_price", "Price, predicted", "Predicted share of the published price"),
    _column("price_share", "Experts, observed", "Observed experts as a share of the published k"),
    _column(
        "predicted_loss",
        "Loss, predicted",
        "Sum of the losses of each change alone: KL divergence, nats per answer token",
    ),
    _column("measured_loss", "as measured", "Loss of all changes together, while choosing"),
    _column("uniform_loss", "of uniform k", "Loss of the uniform k of the same price"),
    _column("calibration", "Calibration questions", "Questions whose prompts were used"),
    _column("found_by", "Found by", "The search, or the policy whose numbers were calibrated"),
)


def equal_price_table(numbers: SeriesStatistics) -> Table | None:
    """Return each schedule and policy against the uniform k of its price; ``None`` without any."""
    named = {one.point.label: one for one in numbers.points}
    rows = [_equal_price_cells(numbers, row, named[row.setting]) for row in numbers.equal_price]
    return _known(EQUAL_PRICE, rows)


def predictions_table(numbers: SeriesStatistics) -> Table | None:
    """Return what was predicted of each schedule and policy beside what was measured.

    ``None`` where nothing was predicted.
    """
    priced = [one for one in numbers.points if numbers.at_price_of(one.point.label)]
    found = [
        one
        for one in priced
        if one.point.tuning is not None or numbers.predicted_speed_up(one) is not None
    ]
    return _known(PREDICTED, [_predicted_cells(numbers, one) for one in found])


def price_records(numbers: SeriesStatistics) -> list[dict[str, Any]]:
    """List all numbers of each comparison at equal price, as plain data for JSON and CSV.

    Scores are in the unit in which they are shown; ``None`` is not known.
    """
    named = {one.point.label: one for one in numbers.points}
    return [_record(numbers, row, named[row.setting]) for row in numbers.equal_price]


def full_price_table(found: Sequence[SeriesStatistics]) -> Table:
    """Return all numbers of all comparisons at equal price, for CSV."""
    rows = [row for numbers in found for row in price_records(numbers)]
    names = list(rows[0]) if rows else []
    return Table(
        tuple(_column(name, name, name) for name in names),
        tuple(tuple(Cell(row[name], "") for name in names) for row in rows),
    )


def _record(numbers: SeriesStatistics, row: EqualPrice, one: PointStatistics) -> dict[str, Any]:
    difference, tuning = row.difference, one.point.tuning
    return {
        "model": numbers.series.name,
        "task": numbers.series.task,
        "setting": row.setting,
        "kind": row.kind.value,
        "price": row.price,
        "price_share": row.share,
        "uniform": row.uniform,
        "uniform_price": row.uniform_price,
        "skipped_share": _skipped(one).value,
        "n_questions": difference.n_questions if difference else None,
        "difference": difference.difference * numbers.scale if difference else None,
        **_ends("difference", difference.interval if difference else None, numbers.scale),
        "p_value": difference.p_value if difference else None,
        "p_value_holm": difference.adjusted_p_value if difference else None,
        "n_comparisons": row.n_comparisons,
        "verdict": row.verdict.value,
        "reason": row.reason or None,
        "speed": row.speed.ratio if row.speed else None,
        **_ends("speed", row.speed.interval if row.speed else None, 1.0),
        "speed_up": one.speed_up.ratio if one.speed_up else None,
        **_ends("speed_up", one.speed_up.interval if one.speed_up else None, 1.0),
        "predicted_speed_up": numbers.predicted_speed_up(one),
        "target": tuning.target if tuning else None,
        "unit": tuning.unit if tuning else None,
        "predicted_price": tuning.price if tuning else None,
        "predicted_loss": tuning.predicted_loss if tuning else None,
        "measured_loss": tuning.measured_loss if tuning else None,
        "n_tried": tuning.n_tried if tuning else None,
    }


def _ends(name: str, interval: Any, scale: float) -> dict[str, float | None]:  # noqa: ANN401
    low, high = (interval.low * scale, interval.high * scale) if interval else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _known(columns: Sequence[Column], rows: Sequence[dict[str, Cell]]) -> Table | None:
    """Return the columns in which anything is known; ``None`` without rows."""
    kept = [one for one in columns if any(row[one.key].value is not None for row in rows)]
    if not rows:
        return None
    return Table(tuple(kept), tuple(tuple(row[one.key] for one in kept) for row in rows))


def _equal_price_cells(
    numbers: SeriesStatistics, row: EqualPrice, one: PointStatistics
) -> dict[str, Cell]:
    p = row.difference.adjusted_p_value if row.difference else None
    share = f" ({percent_text(row.share)})" if row.share is not None else ""
    return {
        "setting": _text(row.setting),
        "verdict": _text(verdict_text(row)),
        "difference": _difference(numbers, row),
        "p_value_holm": Cell(p, "" if p is None else p_value_text(p)),
        "speed": _ratio(row.speed),
        "price": Cell(row.price, f"{number_text(row.price, 2)}{share}"),
        "uniform_price": Cell(row.uniform_price, row.uniform or NOT_KNOWN),
        "skipped": _skipped(one),
        "kind": _text(row.kind.value),
    }


def _skipped(one: PointStatistics) -> Cell:
    record = one.point.first.record
    found = record.experts.skipped_experts if record and record.experts else None
    if found is None:
        return Cell(None, NOT_KNOWN)
    parts = (("text", found.text), ("image", found.image))
    texts = [f"{name} {percent_text(share)}" for name, share in parts if share is not None]
    return Cell(found.share, f"{percent_text(found.share)} ({', '.join(texts)})")


def _difference(numbers: SeriesStatistics, row: EqualPrice) -> Cell:
    if row.difference is None:
        return Cell(None, NOT_KNOWN)
    found, scale = row.difference, numbers.scale
    ends = (found.difference, found.interval.low, found.interval.high)
    value, low, high = (points_text(end * scale, sign=True) for end in ends)
    return Cell(found.difference * scale, f"{value} ({low} to {high})")


def _predicted_cells(numbers: SeriesStatistics, one: PointStatistics) -> dict[str, Cell]:
    share, speed = numbers.price_share(one), numbers.predicted_speed_up(one)
    measured = {
        "setting": _text(one.point.label),
        "price_share": Cell(share, percent_text(share)),
        "predicted_speed_up": Cell(speed, NOT_KNOWN if speed is None else f"{speed:.2f}×"),
        "speed_up": _ratio(one.speed_up),
    }
    unknown = {column.key: Cell(None, NOT_KNOWN) for column in PREDICTED}
    return {**unknown, **_tuned_cells(one.point.tuning), **measured}


def _tuned_cells(tuning: TuningRecord | None) -> dict[str, Cell]:
    """Return what a search or a calibration says of a setting; nothing of one by hand."""
    if tuning is None:
        return {}
    return {
        "found_by": _text(f"{tuning.method}, {tuning.target:g} of {tuning.unit}"),
        "n_tried": Cell(tuning.n_tried, f"{tuning.n_tried:,}"),
        "calibration": _text(_questions(tuning)),
        "predicted_price": Cell(tuning.price, percent_text(tuning.price)),
        "predicted_loss": _loss(tuning.predicted_loss),
        "measured_loss": _loss(tuning.measured_loss),
        "uniform_loss": _loss(tuning.uniform_loss),
    }


def _questions(tuning: TuningRecord) -> str:
    if tuning.data_free:
        return "none: random tokens"
    return ", ".join(
        f"{len(one.doc_ids):,} of {one.task} ({one.split})" for one in tuning.questions
    )


def _loss(value: float | None) -> Cell:
    return Cell(value, NOT_KNOWN if value is None else f"{value:.3g}")


def _ratio(ratio: SpeedRatio | None) -> Cell:
    return Cell(ratio.ratio if ratio else None, speed_text(ratio))


def _text(value: Value) -> Cell:
    return Cell(value or None, str(value or NOT_KNOWN))
