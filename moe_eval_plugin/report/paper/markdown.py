"""Write the table of a paper as Markdown, for a model card."""

from __future__ import annotations

import re
from itertools import compress
from typing import TYPE_CHECKING

from moe_eval_plugin.report.paper.table import TIMED_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.paper.table import PaperRow, PaperTable, Quantity

MARKUP = re.compile(r"[\\`*\[\]<&~$]|(?<![^\W_])_|_(?![^\W_])")


def as_markdown(table: PaperTable) -> str:
    """Return a table with a row for each setting, and what its marks mean below it."""
    head = (
        *(
            "Model",
            "Task",
            "k",
            "Kind",
            "Observed k",
            "Routed FLOP share",
            f"{table.accuracy} (95% interval)",
        ),
        *("Change, points (95% interval)", "Verdict", "Speed-up (95% interval)", "Questions/s"),
    )
    rows = [[*map(escaped, (row.model, row.task)), *_cells(row)] for row in table.rows]
    text = markdown_table(head, rows)
    notes = list(_notes(table))
    return f"{text}\n{' '.join(notes)}\n" if notes else text


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown, from escaped cells, without columns that are empty.

    A column of models or tasks that is the same in all rows is left out too.
    """
    from pytablewriter import MarkdownTableWriter
    from pytablewriter.typehint import String

    columns = list(zip(*rows, strict=True))
    kept = [
        any(cells) and (name not in ("Model", "Task") or len(set(cells)) > 1)
        for name, cells in zip(head, columns, strict=True)
    ]
    writer = MarkdownTableWriter(
        headers=list(compress(head, kept)),
        value_matrix=[list(compress(row, kept)) for row in rows],
        type_hints=[String] * sum(kept),
        dequote=False,
        margin=1,
    )
    return str(writer.dumps())


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _cells(row: PaperRow) -> list[str]:
    k = escaped(row.k)
    published = f"{k} (published)" if row.is_published else k
    return [
        f"**{k}**" if row.is_recommended else published,
        row.kind,
        row.observed,
        row.routed_flop_share,
        _quantity(row.accuracy),
        _quantity(row.change),
        row.verdict,
        _quantity(row.speed_up),
        row.samples_per_s,
    ]


def _quantity(one: Quantity) -> str:
    times = f"{one.value} (timed once)" if one.is_timed_once else one.value
    return f"{one.value} ({one.ends[0]} to {one.ends[1]})" if one.ends else times


def _notes(table: PaperTable) -> list[str]:
    notes = []
    if table.has_recommended:
        notes.append(
            f"Bold: the fastest k that is shown to lose at most {table.margin} and to be faster."
        )
    if table.has_timed_once:
        notes.append(f"Timed once: {TIMED_ONCE.removeprefix('timed once, so ')}.")
    return notes
