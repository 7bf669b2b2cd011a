"""Compare the answers at each setting with those at the published k, question by question."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.series import ReportPoint, Series
    from moe_eval_plugin.results.samples import Question

Kind: TypeAlias = Literal["lost", "gained", "same"]
KINDS: tuple[Kind, ...] = ("lost", "gained", "same")
# Averages of the same scores may differ in their last digits.
EQUAL_WITHIN = 1e-9


@dataclass(frozen=True)
class SettingChanges:
    """The questions of a setting whose answers changed, by their keys."""

    point: ReportPoint
    """The setting."""
    n_compared: int
    """Questions that it shares with the published k."""
    of_kind: Mapping[Kind, Sequence[str]]
    """Questions that changed in each way: a worse score, a better one, or the same."""
    shown: Mapping[str, Kind]
    """Those of them to show."""


@dataclass(frozen=True)
class SeriesChanges:
    """The settings of a series against its published k."""

    series: Series
    """The series."""
    baseline: ReportPoint
    """The published k."""
    settings: tuple[SettingChanges, ...]
    """The other settings that have answers, in the order of the series."""
    start: str
    """Setting to show first: the recommended one, or else the next below the published k."""

    @property
    def shown(self) -> list[str]:
        """The questions to show; those of the first setting to show come first."""
        ordered = sorted(self.settings, key=lambda one: one.point.label != self.start)
        return list(dict.fromkeys(key for one in ordered for key in one.shown))


def compare_answers(numbers: SeriesStatistics, most: int) -> SeriesChanges | None:
    """Compare the settings of a series, and draw at most ``most`` questions of each kind.

    Of several runs of a setting, the first one is used. Returns ``None`` where there is nothing to
    compare: ``what_is_missing`` says what.
    """
    series = numbers.series
    baseline = series.baseline
    if baseline is None or not baseline.first.questions:
        return None
    found = [
        _changes(series, baseline, point, most)
        for point in series.points
        if point is not baseline and point.first.questions
    ]
    if not found:
        return None
    labels = [one.point.label for one in found]
    # Settings go from large k to small, so the first one below the published k comes after it.
    below = [one.label for one in series.points[series.points.index(baseline) :]]
    choices = [numbers.recommended, numbers.candidate, *below, *labels]
    start = next(label for label in choices if label in labels)
    return SeriesChanges(series, baseline, tuple(found), start or labels[0])


def change_of(
    before: Question, after: Question, metric: str, *, is_lower_better: bool = False
) -> Kind | None:
    """Return how an answer changed; ``None`` where neither its text nor its score did."""
    sign = -1 if is_lower_better else 1
    old, new = sign * before.scores[metric], sign * after.scores[metric]
    if not math.isclose(old, new, abs_tol=EQUAL_WITHIN):
        return "lost" if new < old else "gained"
    return "same" if before.answer != after.answer else None


def _changes(
    series: Series, baseline: ReportPoint, point: ReportPoint, most: int
) -> SettingChanges:
    base, own = baseline.first.questions, point.first.questions
    of_kind: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    for key, question in base.items():
        if key not in own:
            continue
        kind = change_of(question, own[key], series.metric, is_lower_better=series.is_lower_better)
        if kind is not None:
            of_kind[kind].append(key)
    shown = {key: kind for kind, keys in of_kind.items() for key in _drawn(keys, most)}
    return SettingChanges(point, len(base.keys() & own.keys()), of_kind, shown)


def _drawn(keys: Sequence[str], most: int) -> list[str]:
    """Return some at random: the same ones in every report, and for each k if possible."""
    return sorted(keys, key=lambda key: (zlib.crc32(key.encode()), key))[:most]


def what_is_missing(series: Series) -> str:
    """Return what it takes to compare the answers of a series that cannot be compared."""
    baseline = series.baseline
    facts = series.points[0].first.facts
    if not facts.is_ours:
        return f"{series.name} is no run of moe_hf or moe_vllm, so its k is not known."
    k = facts.baseline_num_experts_per_tok
    published = "the published k" if k is None else f"the published k (k={k:g})"
    if baseline is None:
        return f"Of {series.name}, {published} was not run."
    if not baseline.first.questions:
        return f"Of {series.name}, {published} was run without --log_samples."
    if len(series.points) == 1:
        return f"Of {series.name}, only {published} was run."
    return f"Of {series.name}, no setting but {published} was run with --log_samples."
