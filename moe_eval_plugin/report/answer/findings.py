"""What was found in a series, in a few sentences: what is shown, and the setting to recommend.

Only what was shown is claimed. A setting is within the margin, loses more, or has too few questions
to tell; one is recommended if a test shows that it loses no more than the margin, and the interval
of its speed-up lies above 1. Otherwise the findings say what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.report.analysis.series_statistics import PriceVerdict
from moe_eval_plugin.report.analysis.speed_scope import sentences_on_speed
from moe_eval_plugin.report.analysis.timing_notes import sentences_on_timing
from moe_eval_plugin.report.analysis.verdicts import Verdict, gains_more, verdict
from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.answer.changes import listed
from moe_eval_plugin.report.answer.prices import price_sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

Kind = Literal["smoke test", "recommendation", "group", "price", "warning", "caveat", "note"]


@dataclass(frozen=True)
class Finding:
    """A sentence, and what is shown when the pointer is on it."""

    text: str
    detail: str = ""
    kind: Kind = "note"


def findings(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield what is shown, most important first: nothing is said of what tests cannot show."""
    if numbers.smoke_test:
        yield Finding(answer(numbers).sentence, kind="smoke test")
    elif any(one.difference is not None for one in numbers.points):
        yield Finding(answer(numbers).sentence, kind="recommendation")
    yield from _groups(numbers)
    yield from _prices(numbers)
    for text in numbers.warnings:
        yield Finding(text, kind="warning")
    for text in numbers.notes:
        yield Finding(text, kind="caveat")
    for text in (*sentences_on_timing(numbers.series), *sentences_on_speed(numbers)):
        yield Finding(text)


def _prices(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield what schedules and policies are worth against uniform k, and the published k."""
    rows = [row for row in numbers.equal_price if row.verdict is not PriceVerdict.NOTHING]
    by_verdict = {
        found: ", ".join(f"{row.setting} ({row.uniform})" for row in rows if row.verdict is found)
        for found in PriceVerdict
    }
    parts = [f"{found.value}: {names}" for found, names in by_verdict.items() if names]
    if parts:
        n = rows[0].n_comparisons
        holm = f", adjusted for {n} comparisons by Holm's method" if n > 1 else ""
        detail = f"By paired tests at the 5% level on the same questions{holm}"
        text = f"At equal price (uniform k in brackets), {'; '.join(parts)}."
        yield Finding(text, detail, "price")
    for text in price_sentences(numbers):
        yield Finding(text, kind="price")


def _groups(numbers: SeriesStatistics) -> Iterator[Finding]:
    """Yield a sentence for each group, with its settings."""
    margin = numbers.margin_text
    groups: dict[Verdict, list[PointStatistics]] = {}
    for one in numbers.points:
        found = verdict(numbers, one)
        if found is not None:
            groups.setdefault(found, []).append(one)
    within = groups.get(Verdict.WITHIN, [])
    if within:
        detail = f"Shown to lose no more than {margin}, by a one-sided test at the 5% level"
        better = " or better" if any(gains_more(numbers, one) for one in within) else ""
        yield Finding(f"Within {margin}{better}: {listed(numbers, within)}.", detail, "group")
    more = groups.get(Verdict.LOSES_MORE, [])
    if more:
        detail = f"Shown to lose more than {margin}, by a one-sided test at the 5% level"
        yield Finding(f"Loses more than {margin}: {listed(numbers, more)}.", detail, "group")
    few = groups.get(Verdict.TOO_FEW, [])
    if few:
        known = [n for one in few if one.equivalence and (n := one.equivalence.n_questions_to_tell)]
        about = f" (about {max(known):,} would)" if known and not numbers.smoke_test else ""
        detail = "So many show it with a chance of 80% if nothing is lost, or what was seen"
        text = f"Too few questions to tell{about}: {listed(numbers, few)}."
        yield Finding(text, detail if about else "", "group")
