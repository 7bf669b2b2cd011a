"""Put the first screen together: the line about the system, and a part for each series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.answer.findings import findings
from moe_eval_plugin.report.answer.run_facts import limit_badge, run_facts
from moe_eval_plugin.report.charts.trade_off.figure import main_chart
from moe_eval_plugin.report.page.first_screen.glance import glance_rows
from moe_eval_plugin.report.page.first_screen.margins import at_each, margin_names
from moe_eval_plugin.report.page.first_screen.verdict_card import verdict_card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.report.charts.trade_off.figure import MainChart
    from moe_eval_plugin.report.page.first_screen.glance import GlanceRow
    from moe_eval_plugin.report.page.first_screen.verdict_card import VerdictCard

CHART = "loss-against-speed-up"


@dataclass(frozen=True)
class ScreenPart:
    """What the first screen shows of one series."""

    name: str
    """The series and its task."""
    metric: str
    """The score that is called accuracy."""
    facts: tuple[str, ...]
    """What is true of this series, and not of all."""
    badges: tuple[str, ...]
    """What keeps it from being a whole evaluation."""
    cards: tuple[VerdictCard, ...]
    """The verdict at each margin."""
    caveats: tuple[str, ...]
    """What makes its numbers unreliable."""
    notes: tuple[str, ...]
    """How its speeds were measured."""
    chart: MainChart | None
    """The main chart; ``None`` where there is a single setting."""
    rows: tuple[GlanceRow, ...]
    """The table at a glance."""
    at_price: str = ""
    """What schedules and policies are worth at equal price; empty without any."""


@dataclass(frozen=True)
class FirstScreen:
    """The first screen of a report."""

    title: str
    """The question that the page answers."""
    description: str
    """The answers in sentences, for previews of the page."""
    facts: tuple[str, ...]
    """What is true of all series."""
    margins: tuple[str, ...]
    """The margins to choose from, in points."""
    margin: str
    """The margin to begin with."""
    parts: tuple[ScreenPart, ...]
    """A part for each series."""

    @property
    def figures(self) -> list[Figure]:
        """The main charts."""
        return [part.chart.figure for part in self.parts if part.chart is not None]


def first_screen(found: Sequence[SeriesStatistics]) -> FirstScreen:
    """Return the first screen of a report on these series, which share a margin."""
    own = found[0].margin * found[0].scale
    margins = margin_names(own)
    facts = [run_facts(numbers) for numbers in found]
    shared = {name: text for name, text in facts[0].items() if _is_same(name, text, facts)}
    return FirstScreen(
        title=_title(found),
        description=" ".join(_sentence(numbers, several=len(found) > 1) for numbers in found),
        facts=tuple(shared.values()),
        margins=margins,
        margin=f"{own:g}",
        parts=tuple(
            _part(numbers, margins, tuple(v for k, v in own_facts.items() if k not in shared), n)
            for n, (numbers, own_facts) in enumerate(zip(found, facts, strict=True))
        ),
    )


def _is_same(name: str, text: str, facts: Sequence[dict[str, str]]) -> bool:
    return all(one.get(name) == text for one in facts)


def _part(
    numbers: SeriesStatistics, margins: Sequence[str], facts: tuple[str, ...], number: int
) -> ScreenPart:
    by_margin = at_each(numbers, margins)
    shown = f"{numbers.margin * numbers.scale:g}"
    limit = limit_badge(numbers)
    name = f"{numbers.series.task}-{CHART}{f'-{number + 1}' if number else ''}"
    return ScreenPart(
        name=f"{numbers.series.title} on {numbers.series.task}",
        metric=numbers.series.metric,
        facts=facts,
        badges=(*(["smoke test"] if numbers.smoke_test else []), *([limit] if limit else [])),
        cards=tuple(verdict_card(margin, at) for margin, at in by_margin.items()),
        caveats=answer(numbers).caveats,
        notes=tuple(one.text for one in findings(numbers) if one.kind == "note"),
        chart=main_chart(by_margin, shown, name),
        rows=tuple(glance_rows(by_margin)),
        at_price=next((one.text for one in findings(numbers) if one.kind == "price"), ""),
    )


def _sentence(numbers: SeriesStatistics, *, several: bool) -> str:
    found = answer(numbers)
    return f"{found.series} on {found.task}: {found.sentence}" if several else found.sentence


def _title(found: Sequence[SeriesStatistics]) -> str:
    models = dict.fromkeys(one.series.points[0].first.facts.model for one in found)
    tasks = dict.fromkeys(one.series.task for one in found)
    return f"{', '.join(models)} on {', '.join(tasks)}: how many experts are enough?"
