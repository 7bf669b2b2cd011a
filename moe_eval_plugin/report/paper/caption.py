"""The caption of a table or figure: what was measured, on what, and how intervals were computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.speed_scope import sentence_on_rates
from moe_eval_plugin.report.analysis.timing_notes import sentences_on_timing
from moe_eval_plugin.report.answer.findings import findings
from moe_eval_plugin.report.answer.run_facts import facts_line
from moe_eval_plugin.results.versions import HOSTS
from moe_eval_plugin.stats.accuracy import DEFAULT_BOOTSTRAP
from moe_eval_plugin.text import as_text, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.series import FinishedTask

WIDTH = 88
# What a reader of a paper needs; the others are in the results files.
PACKAGES = ("moe-eval-plugin", *HOSTS, "transformers", "vllm", "torch")
ON_THE_NUMBERS = (
    "k is the number of routed experts per token, without shared experts; the observed k was "
    "counted on real prompts before anything was scored or timed."
)


def table_caption(series: Sequence[SeriesStatistics]) -> str:
    """Return the caption of a table of some series, in a few sentences."""
    models = ", ".join(dict.fromkeys(one.series.name for one in series))
    tasks = ", ".join(dict.fromkeys(one.series.task for one in series))
    facts = _facts(series[0]) if len(series) == 1 else ""
    what = (
        f"Accuracy and speed of {models} on {tasks} at each number k of routed experts per token."
    )
    how = "Changes and speed-ups compare with the published k; intervals are 95% intervals."
    rates = sentence_on_rates(series)
    return " ".join(filter(None, [what, f"{facts}." if facts else "", how, rates]))


def caption(series: Sequence[SeriesStatistics]) -> str:
    """Return all that a reader of the table and the figures must know, in paragraphs."""
    paragraphs = [table_caption(series), *(_of_series(one) for one in series)]
    paragraphs += [f"{ON_THE_NUMBERS} {' '.join(_on_intervals(series))}"]
    paragraphs += [*_at_equal_price(series), *_warnings(series)]
    return "\n\n".join(_wrapped(one) for one in paragraphs) + "\n"


def _of_series(numbers: SeriesStatistics) -> str:
    """Return on what a series was measured: questions, machine, data, versions."""
    run = numbers.series.points[0].first
    facts = run.facts
    versions = [f"{name} {facts.versions[name]}" for name in PACKAGES if name in facts.versions]
    days = sorted({one.facts.date.date().isoformat() for one in _runs(numbers) if one.facts.date})
    known = {
        "Checkpoint revision": facts.model_revision,
        "Score": numbers.series.metric,
        "Scoring": facts.scoring,
        "Data": facts.data_origin or facts.dataset,
        "Data revision": facts.data_revision,
        "Versions": ", ".join(versions),
        "Measured on": " to ".join(dict.fromkeys([*days[:1], *days[-1:]])),
    }
    told = [f"{name}: {as_text(value)}." for name, value in known.items() if value]
    timing = list(sentences_on_timing(numbers.series))
    name = f"{numbers.series.name}, {numbers.series.task}. {_facts(numbers)}."
    return " ".join([name, *told, *timing])


def _facts(numbers: SeriesStatistics) -> str:
    """Return the number of questions, the machine and so on, as the beginning of a sentence."""
    text = ", ".join(facts_line(numbers).split(" · "))
    return text[:1].upper() + text[1:]


def _runs(numbers: SeriesStatistics) -> list[FinishedTask]:
    return [run for point in numbers.series.points for run in point.runs]


def _on_intervals(series: Sequence[SeriesStatistics]) -> Iterator[str]:
    """Yield how the intervals that are shown were computed."""
    points = [one for numbers in series for one in numbers.points]
    if any(one.questions.scores for one in points):
        unit = "images" if any(one.n_images for one in points) else "questions"
        yield (
            f"Intervals of accuracies and of changes are 95% percentile bootstraps over {unit} "
            f"({DEFAULT_BOOTSTRAP.n_resamples:,} resamples), for changes on pairs of answers to "
            "the same question."
        )
    if any(one.routed_flop_share is not None for one in points):
        yield (
            "The routed FLOP share is that of routed experts in the FLOPs of a prompt of 1,024 "
            "tokens, by a cost model."
        )
    if any(one.equivalence for one in points):
        margins = " or ".join(dict.fromkeys(one.margin_text for one in series))
        yield (
            f"A setting is within {margins} if a one-sided test at the 5% level shows that it "
            "loses no more."
        )
    ratios = [one.speed_up for one in points if one.speed_up and not one.point.is_baseline]
    if any(ratio.interval for ratio in ratios):
        yield (
            "A speed-up is the median of the ratios of paired measurements, with a 95% interval "
            "from their ranks."
        )
    if any(not ratio.interval for ratio in ratios):
        yield "A speed-up without an interval was timed once and supports no finding."


def _at_equal_price(series: Sequence[SeriesStatistics]) -> Iterator[str]:
    """Yield how schedules and policies compare with the uniform k of their price."""
    for one in series:
        where = f"{one.series.name}, {one.series.task}: " if len(series) > 1 else ""
        for found in findings(one):
            if found.kind == "price":
                yield f"{where}{found.text}{f' {found.detail}.' if found.detail else ''}"


def _warnings(series: Sequence[SeriesStatistics]) -> Iterator[str]:
    for one in series:
        where = f"{one.series.name}, {one.series.task}: " if len(series) > 1 else ""
        reasons = f"smoke test: {'; '.join(one.smoke_test)}" if one.smoke_test else ""
        for text in (*([f"{reasons}."] if reasons else []), *one.warnings, *one.notes):
            yield f"Note: {where}{text}"


def _wrapped(text: str) -> str:
    return "\n".join(wrap(text, WIDTH))
