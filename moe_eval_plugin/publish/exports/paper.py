"""Write the table of a report, a row for each k: Markdown for a model card, LaTeX for a paper.

Numbers, intervals and verdicts are those of ``moe-eval report`` with a margin of 1 point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.failures import faults_of, notes_on
from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.page.provenance import origin_of
from moe_eval_plugin.report.paper.caption import table_caption
from moe_eval_plugin.report.paper.latex import as_latex
from moe_eval_plugin.report.paper.markdown import as_markdown, escaped
from moe_eval_plugin.report.paper.table import make_paper_table
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.results.score_facts import collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.series import Series
    from moe_eval_plugin.results.run import Run

MARGIN_POINTS = 1.0
MARKDOWN_FILE, LATEX_FILE = "results.md", "results.tex"


def statistics_of(runs: Sequence[Run], task: str | None) -> list[SeriesStatistics]:
    """Return the statistics of runs as a report has them; raises ``DataError`` without scores.

    A task that does not say by which of its scores it is compared has a series for each of them.
    """
    return [compute(one, MARGIN_POINTS) for one in _series(runs, task)]


def export_markdown(runs: Sequence[Run], task: str | None) -> Exported:
    """Return a row for each k of each model and task, and below it a list of where it is from."""
    series = statistics_of(runs, task)
    parts = [
        escaped(table_caption(series)),
        as_markdown(make_paper_table(series)).rstrip("\n"),
        *("\n".join(_provenance(one)) for one in series),
    ]
    return Exported({MARKDOWN_FILE: "\n\n".join(parts) + "\n"}, _notes(runs, task))


def export_latex(runs: Sequence[Run], task: str | None) -> Exported:
    """Return the same table as LaTeX."""
    series = statistics_of(runs, task)
    text = as_latex(make_paper_table(series), table_caption(series), "tab:moe-eval")
    return Exported({LATEX_FILE: text}, _notes(runs, task))


def _series(runs: Sequence[Run], task: str | None) -> Iterator[Series]:
    # Of runs without that task, or without any score, this says so.
    facts = collect(runs, task)
    for name in dict.fromkeys(one.task for one in facts):
        paths = [run.path for run in runs if any(one.task == name for one in run.tasks)]
        try:
            yield from read_series(paths, name)
        except InvalidArgumentError:
            shares = [one for one in facts if one.task == name and one.unit in (None, "proportion")]
            if not shares:
                raise
            for metric in dict.fromkeys(one.metric for one in shares):
                yield from read_series(paths, name, metric)


def _provenance(numbers: SeriesStatistics) -> Iterator[str]:
    """Yield a list of Markdown with what is known of all runs of a series."""
    origin = origin_of(numbers.series)
    yield f"{escaped(origin.name)}, {escaped(numbers.series.metric)}:"
    yield ""
    for name, value in origin.shared:
        yield f"- {escaped(name)}: {escaped(value)}"
    reasons = [f"Smoke test: {'; '.join(numbers.smoke_test)}."] if numbers.smoke_test else []
    for text in (*reasons, *numbers.warnings, *numbers.notes):
        yield f"- {escaped(text)}"


def _notes(runs: Sequence[Run], task: str | None) -> tuple[str, ...]:
    return tuple(notes_on(runs, task, faults_of(runs, task)))


EXPORTERS = (
    Exporter("markdown", f"{MARKDOWN_FILE}, a row for each k, for a model card", export_markdown),
    Exporter("latex", f"{LATEX_FILE}, the same table for a paper, with booktabs", export_latex),
)
