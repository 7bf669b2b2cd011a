"""Pool the series of a report as checkpoints of one model: the effect of each k over them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin import stats
from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.results.samples import images_of
from moe_eval_plugin.stats.checkpoints import LEAST_FOR_A_SIGN, least_sign_p_value
from moe_eval_plugin.stats.paired import SIGNIFICANT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


@dataclass(frozen=True)
class SettingOverCheckpoints:
    """A setting that all checkpoints were asked at; ``None`` is not known."""

    label: str
    """The setting in words, for instance ``k=4``."""
    difference: stats.CheckpointDifference
    """Difference of the score to the published k."""
    speed_up: stats.CheckpointRatio | None
    """Speed divided by that at the published k."""
    routed_flop_share: float | None
    """Share of the FLOPs in routed experts (rho), 0 to 1."""


@dataclass(frozen=True)
class TaskOverCheckpoints:
    """One task and score over all checkpoints."""

    task: str
    """Name of the task."""
    metric: str
    """Metric of the score."""
    checkpoints: tuple[str, ...]
    """Names of the checkpoints, in the order of the differences."""
    scale: float
    """100 where scores lie between 0 and 1, so that they are shown in points; else 1."""
    settings: tuple[SettingOverCheckpoints, ...]
    """The settings besides the published k, from large k to small."""
    notes: tuple[str, ...]
    """Sentences about what so many checkpoints can show."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON data; scores in their own unit."""
        return asdict(self)


def over_checkpoints(found: Sequence[SeriesStatistics]) -> tuple[TaskOverCheckpoints, ...]:
    """Return the effect of each k over checkpoints, for each task whose score is a mean.

    Raises ``InvalidArgumentError`` for series that are not of different checkpoints of one model,
    asked alike, and ``DataError`` where they share no questions.
    """
    groups: dict[tuple[str, str], list[SeriesStatistics]] = {}
    for one in found:
        groups.setdefault((one.series.task, one.series.metric), []).append(one)
    return tuple(_pooled(group) for group in groups.values() if _is_comparable(group))


def _is_comparable(group: Sequence[SeriesStatistics]) -> bool:
    _check(group)
    return all(one.series.is_mean for one in group)


def _check(group: Sequence[SeriesStatistics]) -> None:
    """Refuse series that differ in more than their checkpoint, or not in it."""
    task = group[0].series.task
    seen: dict[tuple[str, str | None], str] = {}
    for one in group:
        facts = one.points[0].point.first.facts
        key = facts.pretrained, facts.model_revision
        if key in seen:
            message = (
                f"--checkpoints: {seen[key]} and {one.series.title} are the same checkpoint, "
                f"{facts.pretrained}, run in two ways on {task}. Pass each checkpoint once."
            )
            raise InvalidArgumentError(message)
        seen[key] = one.series.title
        if one.series.baseline is None:
            message = (
                f"--checkpoints: {one.series.title} was not run at the published k on {task}, so "
                "nothing can be compared with it. Sweep with the published k, or leave it out."
            )
            raise InvalidArgumentError(message)
    first, *others = [(one.series.title, _alike(one)) for one in group]
    for name, values in others:
        for what, value in values.items():
            if value != first[1][what]:
                message = (
                    f"--checkpoints: {first[0]} and {name} cannot be pooled on {task}: their "
                    f"{what} is {first[1][what]} and {value}. Pass checkpoints of one model, asked "
                    "alike."
                )
                raise InvalidArgumentError(message)


def _alike(numbers: SeriesStatistics) -> dict[str, object]:
    """Return what must be the same of all checkpoints, by name."""
    baseline = numbers.series.baseline
    record = baseline.first.record if baseline else None
    experts = record.experts if record else None
    return {
        "host": numbers.series.host,
        "published k": experts.baseline if experts else None,
        "number of MoE layers": experts.n_layers if experts else None,
    }


def _pooled(group: Sequence[SeriesStatistics]) -> TaskOverCheckpoints:
    first = group[0]
    by_label = [{one.point.label: one for one in numbers.points} for numbers in group]
    labels = [
        one.point.label
        for one in first.points
        if not one.point.is_baseline and all(one.point.label in own for own in by_label)
    ]
    baselines = [next(p for p in numbers.points if p.point.is_baseline) for numbers in group]
    rows = [_setting([own[label] for own in by_label], baselines, first) for label in labels]
    return TaskOverCheckpoints(
        task=first.series.task,
        metric=first.series.metric,
        checkpoints=tuple(one.series.title for one in group),
        scale=first.scale,
        settings=tuple(rows),
        notes=tuple(_notes(len(group), rows)),
    )


def _setting(
    points: Sequence[PointStatistics],
    baselines: Sequence[PointStatistics],
    first: SeriesStatistics,
) -> SettingOverCheckpoints:
    every = [one.questions for one in (*points, *baselines)]
    keys = [key for key in every[0].scores if all(key in one.scores for one in every)]
    if not keys:
        message = (
            f"--checkpoints: the runs of {first.series.task} at {points[0].point.label} share no "
            "questions. Run all checkpoints on the same questions, with --log_samples."
        )
        raise DataError(message)
    own, base = (
        [[one.questions.scores[key] for key in keys] for one in side]
        for side in (points, baselines)
    )
    clusters = images_of(every[0].questions[key] for key in keys)
    ratios = [one.speed_up.ratio for one in points if one.speed_up is not None]
    return SettingOverCheckpoints(
        label=points[0].point.label,
        difference=stats.checkpoint_difference(own, base, clusters, bounds=first.series.bounds),
        speed_up=stats.checkpoint_ratio(ratios) if len(ratios) == len(points) else None,
        routed_flop_share=points[0].routed_flop_share,
    )


def _notes(n: int, rows: Sequence[SettingOverCheckpoints]) -> Iterator[str]:
    """Yield what so few checkpoints can show, and what they cannot."""
    if n == 1:
        yield (
            "There is one checkpoint. Its interval over questions says nothing about other "
            "checkpoints: pass two or more."
        )
        return
    if n == 2:  # noqa: PLR2004  (two)
        yield (
            "Two checkpoints show whether they agree, and hardly how much checkpoints differ: "
            "the intervals are wide, because one degree of freedom is left."
        )
    least = least_sign_p_value(n)
    if least >= SIGNIFICANT:
        yield (
            f"The signs of {n} checkpoints cannot be significant at the 5% level: their smallest "
            f"p-value is {least:.3g}. It takes {LEAST_FOR_A_SIGN} checkpoints that all agree."
        )
    if len(rows) > 1:
        yield "p-values are not adjusted for the number of settings."
