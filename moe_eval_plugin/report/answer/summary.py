"""What a report found, in a few lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.answer.findings import findings
from moe_eval_plugin.report.answer.run_facts import facts_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

# Notes are on the page, and what to use is the last line of the command.
NOT_SHOWN = ("note", "recommendation", "smoke test")


def summary_lines(series: Sequence[SeriesStatistics]) -> Iterator[str]:
    """Yield the findings of each series, without what to use and how speeds were measured."""
    for one in series:
        yield f"{one.series.name}, {one.series.task}: {facts_line(one)}"
        for found in findings(one):
            if found.kind not in NOT_SHOWN:
                mark = "Warning: " if found.kind == "warning" else ""
                yield f"  {mark}{found.text}"
