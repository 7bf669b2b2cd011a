"""The columns of each table: of the summary, and of the tables by type of question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.report.tables.column import NOT_KNOWN, Column
from moe_eval_plugin.report.tables.columns import COLUMNS
from moe_eval_plugin.report.tables.ratio_columns import short_ratio_columns
from moe_eval_plugin.text import points_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


def _score_text(numbers: SeriesStatistics, one: PointStatistics) -> str:
    text = f"{one.accuracy * numbers.scale:.2f}"
    if one.interval is None:
        return text
    low, high = (end * numbers.scale for end in one.interval)
    return f"{text} ({low:.2f} to {high:.2f})"


def _difference_text(numbers: SeriesStatistics, one: PointStatistics) -> str:
    if one.difference is None:
        return NOT_KNOWN
    ends = one.difference.interval
    value, low, high = (
        points_text(found * numbers.scale, sign=True)
        for found in (one.difference.difference, ends.low, ends.high)
    )
    return f"{value} ({low} to {high})"


BY_KEY = {column.key: column for column in COLUMNS}
SHORT_COLUMNS: tuple[Column, ...] = (
    BY_KEY["model"],
    BY_KEY["task"],
    BY_KEY["setting"],
    BY_KEY["kind"],
    BY_KEY["observed_num_experts_per_tok"],
    BY_KEY["price_share"],
    BY_KEY["observed_num_ffn_experts_per_tok"],
    BY_KEY["routed_flop_share"],
    replace(BY_KEY["score"], heading="Accuracy (95% interval)", show=_score_text),
    replace(
        BY_KEY["difference"], heading="Difference, points (95% interval)", show=_difference_text
    ),
    BY_KEY["equivalent"],
    BY_KEY["samples_per_s"],
)


def short_columns(series: Sequence[SeriesStatistics]) -> tuple[Column, ...]:
    """Return the columns of the summary; it has a speed-up for each batch size."""
    return (*SHORT_COLUMNS, *short_ratio_columns(series), BY_KEY["output_tokens_per_sample"])


TYPES = Column("types", "Types", "Whether types are of answers or of questions", lambda _, __: None)
TYPE = Column("type", "Type", "Answer type or question type", lambda _, p: p.of_type)
ADJUSTED = replace(
    BY_KEY["p_value_holm"],
    meaning="p-value, adjusted for the number of types and settings by Holm's method",
)
TYPE_COLUMNS: tuple[Column, ...] = (
    BY_KEY["model"],
    BY_KEY["task"],
    TYPE,
    *(BY_KEY[key] for key in ("setting", "metric", "score", "score_low", "score_high")),
    *(BY_KEY[key] for key in ("n_questions", "n_images", "n_runs")),
    *(BY_KEY[key] for key in ("difference", "difference_low", "difference_high", "p_value")),
    ADJUSTED,
    *(BY_KEY[key] for key in ("test", "retention", "n_worse", "n_better")),
)
SHORT_TYPE_COLUMNS: tuple[Column, ...] = (
    BY_KEY["model"],
    TYPE,
    *(BY_KEY[key] for key in ("setting", "n_questions", "n_images")),
    *(column for column in SHORT_COLUMNS if column.key in ("score", "difference")),
    ADJUSTED,
)
