"""Finished runs as a report shows them: series of one task and model, their settings by k."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.stats.accuracy import score_bounds
from moe_eval_plugin.stats.speed import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnsweredTask, Question
    from moe_eval_plugin.results.score_facts import ScoreFacts
    from moe_eval_plugin.results.setup import Setup
    from moe_eval_plugin.results.timing.timed_pass import TimedPass


@dataclass(frozen=True)
class TimedSetting:
    """A setting of a sweep, and the timed passes that it is in."""

    name: str
    """Name of the setting in these passes, which is that of its folder."""
    passes: tuple[TimedPass, ...]
    """The passes of one task, by batch size."""


@dataclass(frozen=True)
class FinishedTask:
    """One task of one results file."""

    run: Run
    """The file."""
    task: TaskRun
    """The task."""
    facts: ScoreFacts
    """Facts of the score that is shown."""
    answered: AnsweredTask | None
    """The task with its questions; ``None`` where there is no samples file."""
    timed: TimedSetting | None = None
    """Its part of the timed passes of its sweep; ``None`` where it was not timed in one."""
    n_left_out: int = 0
    """Questions that are left out, because they took part in choosing a setting."""

    def without(self, doc_ids: Collection[str]) -> FinishedTask:
        """Return the task without the questions of these numbers of the host, scored again.

        A score that is no mean over questions stays that of all of them, and so does one of which
        no question is left. So does everything where the questions are not known one by one; the
        task then has none to compare.
        """
        if not doc_ids or self.answered is None:
            return self
        one = replace(self, answered=self.answered.without(doc_ids))
        n_left_out = len(self.questions) - len(one.questions)
        if one.answered is None or not n_left_out:
            return one
        scores = [each.scores[self.facts.metric] for each in one.questions.values()]
        if scores and self.is_mean:
            facts = replace(self.facts, value=mean(scores), stderr=None, n=len(scores))
            one = replace(one, facts=facts)
        return replace(one, n_left_out=n_left_out)

    @property
    def is_mean(self) -> bool:
        """Whether the score is a mean over questions, as far as the task says what it is."""
        metric = self.facts.metric
        is_listed = any(one.name == metric for one in self.task.metrics)
        return not is_listed or self.task.is_mean(metric)

    @cached_property
    def questions(self) -> Mapping[str, Question]:
        """The questions that have the score that is shown; nothing without a samples file."""
        found = self.answered.questions if self.answered else {}
        metric = self.facts.metric
        return {key: one for key, one in found.items() if metric in one.scores}

    @property
    def record(self) -> RunRecord | None:
        """What this package measured; ``None`` where it measured nothing."""
        return self.task.record

    @property
    def setup(self) -> Setup:
        """What the run was made with, as far as it is recorded."""
        return self.task.setup

    @property
    def samples_per_s(self) -> float | None:
        """Questions per second while answering; ``None`` where they were not measured."""
        return self.record.speed.samples_per_s if self.record else None

    @property
    def is_shared(self) -> bool:
        """Whether questions shared images or beginnings: the rate is then task throughput."""
        return self.record is not None and self.record.speed.is_shared

    @cached_property
    def has_answer_types(self) -> bool:
        """Whether the data have answer types."""
        return self.answered is not None and any(
            one.answer_type for one in self.answered.questions.values()
        )

    @cached_property
    def has_question_types(self) -> bool:
        """Whether the data have question types."""
        return self.answered is not None and any(
            one.question_type for one in self.answered.questions.values()
        )


@dataclass(frozen=True)
class ReportPoint:
    """One setting of a model: runs that differ in their seeds alone, or in nothing."""

    label: str
    """The setting in words, for instance ``k=4``."""
    k: float | None
    """Requested k, or else the observed one; ``None`` for a model of another adapter."""
    is_baseline: bool
    """Whether it is the unmodified model."""
    runs: tuple[FinishedTask, ...]
    """The runs."""
    kind: SettingKind = SettingKind.UNIFORM
    """Whether it is one k everywhere, a schedule or a policy."""

    @property
    def tuning(self) -> TuningRecord | None:
        """Where its schedule or policy comes from, if ``moe-eval tune`` found it."""
        return self.first.setup.tuning

    @property
    def price(self) -> float | None:
        """Observed experts per token and layer, on average; ``None`` where not observed."""
        return self.median(lambda record: record.experts.observed if record.experts else None)

    @property
    def first(self) -> FinishedTask:
        """The first run, for values that are the same in all."""
        return self.runs[0]

    @property
    def timed(self) -> TimedSetting | None:
        """The setting in the timed passes of its sweep; ``None`` where it was not timed in one."""
        return next((run.timed for run in self.runs if run.timed), None)

    def median(self, read: Callable[[RunRecord], float | None]) -> float | None:
        """Return the median over runs of a value in their records; ``None`` where one lacks it."""
        spread = Spread.of(read(run.record) if run.record else None for run in self.runs)
        return float(spread.median) if spread else None


@dataclass(frozen=True)
class LeftOut:
    """The questions of a task that took part in choosing a setting, and so judge none."""

    n: int
    """Questions that are left out, of those that were asked."""
    n_asked: int
    """Questions that were asked."""
    chosen_with: tuple[str, ...]
    """Names of the settings that they were chosen with."""
    unknown: tuple[str, ...] = ()
    """Labels of the settings whose questions are not known one by one, with these among them."""


@dataclass(frozen=True)
class Series:
    """The settings of one model on one task and machine, from large k to small.

    A model of another adapter is a series of one setting without a k.
    """

    task: str
    """Name of the task."""
    metric: str
    """Metric that is shown."""
    name: str
    """The model, and what distinguishes it from the other series of the task."""
    points: tuple[ReportPoint, ...]
    """The settings."""
    id: str = ""
    """A letter where the report has several models or kinds of runs; the same for all tasks."""
    label: str = ""
    """The user's name of it, in place of the letter and of ``name``."""
    other_hosts: tuple[str, ...] = ()
    """Other hosts that ran the task in this report, each with prompts of its own."""
    left_out: LeftOut | None = None
    """The questions that take no part; ``None`` where no setting was chosen with any."""

    @property
    def host(self) -> str:
        """Name of the host that ran it."""
        return self.points[0].first.run.host

    @property
    def is_mean(self) -> bool:
        """Whether the score is a mean over questions, as far as the task says what it is."""
        return all(run.is_mean for point in self.points for run in point.runs)

    @property
    def is_lower_better(self) -> bool:
        """Whether the host says of the score that lower is better."""
        return any(run.facts.higher_is_better is False for one in self.points for run in one.runs)

    @property
    def short(self) -> str:
        """What it is called in a chart."""
        return self.label or self.id or self.name

    @property
    def title(self) -> str:
        """What it is called in headings and legends."""
        return self.label or (f"{self.id}: {self.name}" if self.id else self.name)

    @property
    def baseline(self) -> ReportPoint | None:
        """The setting at the published k; ``None`` where it was not run."""
        return next((point for point in self.points if point.is_baseline), None)

    @property
    def passes(self) -> tuple[TimedPass, ...]:
        """The timed passes of all settings, by batch size; none where nothing was timed so."""
        found = [one for point in self.points if point.timed for one in point.timed.passes]
        by_size = {one.batch_size: one for one in reversed(found)}
        return tuple(by_size[size] for size in sorted(by_size))

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Range of the score: 0 to 1, or that of its values where they leave this."""
        runs = [run for point in self.points for run in point.runs]
        values = [run.facts.value for run in runs]
        values += [one.scores[self.metric] for run in runs for one in run.questions.values()]
        return score_bounds(values)
