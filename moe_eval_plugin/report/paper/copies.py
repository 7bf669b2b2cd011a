"""The texts that the buttons next to a table copy: the table as Markdown, LaTeX and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.paper.caption import table_caption
from moe_eval_plugin.report.paper.latex import as_latex
from moe_eval_plugin.report.paper.markdown import as_markdown
from moe_eval_plugin.report.paper.table import make_paper_table
from moe_eval_plugin.report.tables.table import as_csv, make_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

ALL = "all"


def copies_of(found: Sequence[SeriesStatistics]) -> Mapping[str, Mapping[str, str]]:
    """Return the texts of each table, by the value of its attribute ``data-copy``, and their names.

    Those of the first series are ``series-1``, and ``all`` has all settings of all series. Markdown
    and LaTeX are the table of a paper; CSV has all numbers, unrounded.
    """
    texts = {f"series-{number}": _texts([one]) for number, one in enumerate(found, start=1)}
    return {**texts, ALL: _texts(found)}


def _texts(series: Sequence[SeriesStatistics]) -> dict[str, str]:
    table = make_paper_table(series)
    return {
        "Markdown": as_markdown(table),
        "LaTeX": as_latex(table, table_caption(series), "tab:moe-eval"),
        "CSV": as_csv(make_table(series)),
    }
