"""What to use: the one answer of a series, which the page, the commands and Python code all show.

The decision is that of ``SeriesStatistics``; here it gets its numbers and its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from moe_eval_plugin.report.analysis.speed_scope import at_batch_size
from moe_eval_plugin.report.analysis.verdicts import Verdict, verdict
from moe_eval_plugin.report.answer.changes import change_text
from moe_eval_plugin.report.answer.prices import about_price, deployment_text, passed_over_text

if TYPE_CHECKING:
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.stats import SpeedRatio

UNKNOWN_K = "The k of this model is unknown, because neither moe_hf nor moe_vllm ran it."


@dataclass(frozen=True)
class Answer:
    """The setting to use within a margin, with its loss and its speed-up.

    All numbers are those of ``setting``. Accuracies are in percent, losses and margins in points,
    or in the unit of the score if the score is not from 0 to 1. ``None`` means unknown.
    """

    series: str
    """The model, and what distinguishes its runs from the others of the report."""
    task: str
    """Name of the task."""
    margin_points: float
    """Largest accepted loss, in points."""
    baseline: str | None
    """Label of the published k, for instance ``k=8``; ``None`` if it was not run."""
    recommended: str | None
    """Label of the setting to use; ``None`` if none is recommended."""
    k: float | None
    """k of the recommended setting; ``None`` without one, and for a schedule of several k."""
    setting: str | None
    """The recommended setting, or else the one closest to being recommended."""
    loss_points: float | None
    """Accuracy that ``setting`` loses, in points; below 0 for a gain."""
    loss_interval: tuple[float, float] | None
    """95% interval of this loss."""
    n_questions: int | None
    """Questions that both ``setting`` and the published k answered."""
    speed_up: SpeedRatio | None
    """Speed of ``setting`` divided by the speed of the published k, and its interval."""
    accuracy: float | None
    """Accuracy of ``setting``, in percent."""
    baseline_accuracy: float | None
    """Accuracy of the published k, in percent."""
    questions_per_s: float | None
    """Rate of ``setting``."""
    baseline_questions_per_s: float | None
    """Rate of the published k."""
    observed_k: float | None
    """Observed k of ``setting``, or of the published k without a ``setting``."""
    n_layers: int | None
    """MoE layers in which this k was observed."""
    certain: bool
    """Whether tests show the answer: a setting to use, or that all settings lose too much."""
    headline: str
    """The answer in a few words, for instance ``Use k=4 instead of 8``."""
    reason: str
    """The reason, in a sentence."""
    sentence: str
    """The whole answer in a sentence with its numbers."""
    caveats: tuple[str, ...] = ()
    """What makes the numbers unreliable or could not be compared, a sentence each."""
    kind: str | None = None
    """Kind of ``setting``: a uniform k, a schedule by hand, a searched schedule or a policy."""
    price_share: float | None = None
    """Observed experts per token of ``setting`` as a share of the published k."""
    deployment: str = ""
    """The command that exports a recommended schedule or policy to other tools; empty for a uniform
    k."""

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        """Return the answer as a notebook shows it."""
        texts = [self.sentence, *self.caveats]
        lines = "".join(f"<p>{escape(text)}</p>" for text in texts)
        return f"<p><strong>{escape(self.headline)}</strong></p>{lines}"


def answer(numbers: SeriesStatistics) -> Answer:
    """Return what to use of a series, with the margin that its statistics were computed for."""
    named = {one.point.label: one for one in numbers.points}
    label = numbers.recommended or numbers.candidate
    one = named[label] if label is not None else None
    baseline = numbers.baseline
    scale = numbers.scale
    difference = one.difference if one else None
    observed = (one or baseline or numbers.points[0]).point.first.record
    experts = observed.experts if observed else None
    words = _words(numbers, one, baseline)
    return Answer(
        series=numbers.series.name,
        task=numbers.series.task,
        margin_points=numbers.margin * scale,
        baseline=baseline.point.label if baseline else None,
        recommended=numbers.recommended,
        k=_single_k(one) if one and numbers.recommended else None,
        setting=label,
        loss_points=-difference.difference * scale if difference else None,
        loss_interval=(-difference.interval.high * scale, -difference.interval.low * scale)
        if difference
        else None,
        n_questions=difference.n_questions if difference else None,
        speed_up=one.speed_up if one else None,
        accuracy=one.accuracy * scale if one else None,
        baseline_accuracy=baseline.accuracy * scale if baseline else None,
        questions_per_s=one.samples_per_s if one else None,
        baseline_questions_per_s=baseline.samples_per_s if baseline else None,
        observed_k=experts.observed if experts else None,
        n_layers=experts.n_layers if experts else None,
        certain=numbers.recommended is not None or _all_lose_more(numbers),
        headline=words.headline,
        reason=words.reason,
        sentence=words.sentence,
        caveats=(*numbers.warnings, *numbers.notes),
        kind=one.point.kind.value if one else None,
        price_share=numbers.price_share(one) if one else None,
        deployment=deployment_text(one) if one and numbers.recommended else "",
    )


class _Words(NamedTuple):
    headline: str
    reason: str
    sentence: str


def _words(
    numbers: SeriesStatistics, one: PointStatistics | None, baseline: PointStatistics | None
) -> _Words:
    """Return the answer in words; ``one`` is the recommended setting, or the closest to it."""
    if numbers.smoke_test:
        reasons = "; ".join(numbers.smoke_test)
        nothing = "This supports no conclusion, so no setting is recommended."
        sentence = f"Smoke test: {reasons}. {nothing}"
        return _Words("Smoke test: no conclusion", f"{_capital(reasons)}.", sentence)
    if baseline is None or one is None:
        return _without_a_choice(numbers, baseline)
    label, published, margin = one.point.label, baseline.point.label, numbers.margin_text
    if numbers.recommended is not None:
        speed = one.speed_up.text if one.speed_up else ""
        fastest = f"The fastest setting that is shown to lose no more than {margin}."
        sentence = (
            f"Recommended: {label}. It is {speed} as fast as {published}{at_batch_size(numbers)} "
            f"and {change_text(numbers, one)}: no more than the {margin} you allow."
        )
        old = published.removeprefix("k=") if label.startswith("k=") else published
        return _Words(
            headline=f"Use {label} instead of {old}",
            reason=_joined(fastest, about_price(numbers, one)),
            sentence=_joined(sentence, about_price(numbers, one), _ended(deployment_text(one))),
        )
    missing = _missing(numbers, one)
    lacks = "faster" if verdict(numbers, one) is Verdict.WITHIN else "enough"
    return _Words(
        headline=f"No recommendation yet: {label} may be {lacks}",
        reason=_joined(f"{_capital(missing)}.", passed_over_text(numbers)),
        sentence=_joined(f"No recommendation yet: {missing}.", passed_over_text(numbers)),
    )


def _without_a_choice(numbers: SeriesStatistics, baseline: PointStatistics | None) -> _Words:
    """Return the words where no setting is recommended, and none comes close to it."""
    if baseline is None:
        known = next(iter(numbers.notes), UNKNOWN_K)
        return _Words("No recommendation without a baseline", known, known)
    published, compared = baseline.point.label, _compared(numbers)
    headline, margin = "No recommendation", numbers.margin_text
    if not compared:
        reason = f"no other setting was compared with {published}"
    elif _all_lose_more(numbers):
        headline, reason = f"Keep {published}", f"every other setting loses more than {margin}"
    elif all(one.speed_up is None for one in compared):
        reason = "speed-ups were not measured"
    else:
        reason = f"no setting both loses at most {margin} and may be faster than {published}"
    if numbers.passed_over is not None:
        reason = f"no other setting that is better than uniform k loses at most {margin}"
    over = passed_over_text(numbers)
    return _Words(
        headline, _joined(f"{_capital(reason)}.", over), _joined(f"{headline}: {reason}.", over)
    )


def _missing(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return what a setting lacks to be recommended."""
    label, margin, ratio = one.point.label, numbers.margin_text, one.speed_up
    if verdict(numbers, one) is not Verdict.WITHIN:
        test = one.equivalence
        n = test.n_questions_to_tell if test else None
        asked = f"{test.n_questions:,} questions" if test else "these questions"
        enough = f" (about {n:,} would)" if n else ""
        return (
            f"{label} {change_text(numbers, one)}, but {asked} cannot rule out a loss of more than "
            f"{margin}{enough}"
        )
    if ratio is None:
        return f"{label} is within {margin}, but its speed-up was not measured"
    if ratio.interval is None:
        return f"{label} is within {margin}, but its speed-up, {ratio.ratio:.2f}×, was timed once"
    speed_up = f"{ratio.text}{at_batch_size(numbers)}"
    return f"{label} is within {margin}, but may not be faster: its speed-up is {speed_up}"


def _compared(numbers: SeriesStatistics) -> list[PointStatistics]:
    return [one for one in numbers.points if one.difference is not None]


def _all_lose_more(numbers: SeriesStatistics) -> bool:
    compared = _compared(numbers)
    return bool(compared) and all(verdict(numbers, one) is Verdict.LOSES_MORE for one in compared)


def _single_k(one: PointStatistics) -> float | None:
    """Return the k of a setting, unless it is a schedule of several."""
    facts = one.point.first.facts
    asked = facts.num_experts_per_tok
    return one.point.k if asked is not None or facts.experts_k is None else None


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _ended(text: str) -> str:
    return f"{text}." if text else ""


def _capital(text: str) -> str:
    """Begin a sentence with a capital, unless it begins with a setting such as ``k=4``."""
    return text if text.startswith("k=") else text[:1].upper() + text[1:]
