"""The statistics of a series and of each of its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moe_eval_plugin import stats
    from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
    from moe_eval_plugin.measure.speed import TaskSpeed
    from moe_eval_plugin.report.analysis.point_speed import TimedSpeed
    from moe_eval_plugin.report.analysis.pooled_scores import Pooled
    from moe_eval_plugin.report.series import ReportPoint, Series


@dataclass(frozen=True)
class PointStatistics:
    """The statistics of a setting; ``None`` is not known or not measured."""

    point: ReportPoint
    """The setting and its runs."""
    questions: Pooled = field(repr=False)
    """Its questions, with the mean of their scores over runs."""
    accuracy: float
    """Mean score, in the unit of the score."""
    interval: tuple[float, float] | None
    """95% interval of the accuracy."""
    n_questions: int | None
    """Questions that were scored."""
    n_images: int | None
    """Images that the questions are about."""
    difference: stats.PairedDifference | None = None
    """Difference to the baseline of the series, on the same questions."""
    equivalence: stats.Equivalence | None = None
    """Test whether the difference is within the margin."""
    of_type: str | None = None
    """Type of the questions, where these are the statistics of one type."""
    by_type: Mapping[str, PointStatistics] = field(default_factory=dict)
    """Scores and differences of each answer type."""
    by_question_type: Mapping[str, PointStatistics] = field(default_factory=dict)
    """Scores and differences of each question type."""
    throughput: stats.Spread | None = None
    """Questions per second while answering, over the runs."""
    timed: Mapping[int, TimedSpeed] = field(default_factory=dict)
    """What timed passes measured, by batch size."""
    batch_size: int | None = None
    """Batch size whose speed is shown first; ``None`` where the series has no timed pass."""
    speed_up: stats.SpeedRatio | None = None
    """Speed divided by that of the baseline."""
    seconds_per_correct: float | None = None
    """Wall time divided by the sum of the scores, median over runs."""
    joules_per_correct: float | None = None
    """Energy divided by the sum of the scores, median over runs."""
    on_front: bool = False
    """Whether no other setting beats it on both accuracy and speed."""
    is_knee: bool = False
    """Whether each further gain in speed costs much more accuracy."""

    @property
    def timed_speed(self) -> TimedSpeed | None:
        """What the timed pass measured at the batch size that is shown first."""
        return None if self.batch_size is None else self.timed.get(self.batch_size)

    @property
    def routed_flop_share(self) -> float | None:
        """Share of a prompt's FLOPs in routed experts (rho), 0 to 1; ``None`` if not recorded."""
        return self.point.median(lambda record: record.setup.routed_flop_share)

    @property
    def samples_per_s(self) -> float | None:
        """Questions per second: of the timed pass where the series has one, else of the runs."""
        if self.batch_size is not None:
            return self.measured(lambda speed: speed.samples_per_s)
        return self.throughput.median if self.throughput else None

    def measured(self, read: Callable[[TaskSpeed], float | None]) -> float | None:
        """Return a value of the timed pass where the series has one, else the median of the runs.

        ``None`` where it was not measured.
        """
        if self.batch_size is not None:
            return read(self.timed_speed.speed) if self.timed_speed else None
        return self.point.median(lambda record: read(record.speed))


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
    difference: stats.PairedDifference | None = None
    """Its accuracy minus that of the uniform k, on the same questions."""
    speed: stats.SpeedRatio | None = None
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


@dataclass(frozen=True)
class SeriesStatistics:
    """A series with the statistics of its settings, and the settings to recommend."""

    series: Series
    """The series."""
    points: tuple[PointStatistics, ...]
    """The statistics of its settings, in its order."""
    margin: float
    """Largest loss that counts as none, in the unit of the score."""
    scale: float
    """100 where scores lie between 0 and 1, so that they are shown in percent; else 1."""
    recommended: str | None = None
    """Fastest setting that is shown to lose no more than the margin and to be faster."""
    candidate: str | None = None
    """Setting that lacks least to be recommended; ``None`` where one is recommended."""
    smoke_test: tuple[str, ...] = ()
    """Why nothing can be concluded from these runs; empty where something can."""
    warnings: tuple[str, ...] = ()
    """Sentences about what makes the speeds unreliable."""
    notes: tuple[str, ...] = ()
    """Sentences about what could not be compared."""
    equal_price: tuple[EqualPrice, ...] = ()
    """Each schedule and policy against the uniform k of its price."""
    passed_over: str | None = None
    """Schedule or policy that would be recommended, and is not better than that uniform k."""

    @property
    def baseline(self) -> PointStatistics | None:
        """The published k; ``None`` where it was not run."""
        return next((one for one in self.points if one.point.is_baseline), None)

    def at_price_of(self, label: str | None) -> EqualPrice | None:
        """Return a schedule or policy against the uniform k of its price; ``None`` for others."""
        return next((row for row in self.equal_price if row.setting == label), None)

    def price_share(self, one: PointStatistics) -> float | None:
        """Return the observed experts of a setting as a share of the published k."""
        published = one.point.first.facts.baseline_num_experts_per_tok
        price = one.point.price
        return price / published if price is not None and published else None

    def predicted_speed_up(self, one: PointStatistics) -> float | None:
        """Return the speed-up that was predicted; ``None`` where the costs are not known.

        It is that of the search where this counted time. Otherwise it is what the cost model
        expects if FLOPs alone took time: with the share rho of routed experts in a prompt at the
        published k, and the observed experts as a share s of it, 1 / (1 - rho (1 - s)).
        """
        tuning, share, baseline = one.point.tuning, self.price_share(one), self.baseline
        if tuning is not None and tuning.unit == "time":
            return 1 / tuning.price
        rho = baseline.routed_flop_share if baseline else None
        if rho is None or share is None or one.point.is_baseline:
            return None
        return 1 / (1 - rho * (1 - share))

    @property
    def margin_text(self) -> str:
        """The margin with its unit."""
        value = self.margin * self.scale
        return f"{value:g} {'point' if value == 1 else 'points'}"
