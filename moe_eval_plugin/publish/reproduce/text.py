"""A bundle and an agreement for people, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from moe_eval_plugin.text import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.publish.reproduce.agreement import Agreement, Row, Verdict
    from moe_eval_plugin.publish.reproduce.preconditions import EnvironmentDifferences

NOT_KNOWN = "-"
HEADER = ("number", "original", "again", "verdict", "because")
MOST_PACKAGES = 12
N_DIGITS = 6
WORDS: Mapping[Verdict, str] = {AGREES: "agree", DIFFERS: "differ", NOT_JUDGED: "not judged"}


def render_agreement(agreement: Agreement) -> str:
    """Write a table for each task of each point, and the verdict at the end."""
    lines: list[str] = []
    for place, rows in _by_place(agreement.rows).items():
        lines += [" ".join(part for part in place if part)]
        lines += [f"  {line}" for line in align([HEADER, *map(_cells, rows)], "lrrl")]
        lines.append("")
    if agreement.settings:
        lines += ["Made with other settings:", *(f"  {one}" for one in agreement.settings), ""]
    lines += [f"Note: {note}" for note in agreement.notes]
    return "\n".join([*lines, _verdict(agreement)])


def render_before(before: EnvironmentDifferences) -> str:
    """Write how this environment and machine differ from those of the bundle."""
    if not before.packages and not before.machine and not before.checkpoint:
        return "Packages and machine are those of the bundle."
    lines: list[str] = []
    if before.packages:
        left_out = len(before.packages) - MOST_PACKAGES
        lines.append(f"Packages that differ, bundle -> here ({len(before.packages)}):")
        lines += [f"  {line}" for line in before.packages[:MOST_PACKAGES]]
        lines += [f"  ... and {left_out} more, all in --json"] if left_out > 0 else []
    if before.machine:
        lines += ["The machine differs, bundle -> here:", *(f"  {one}" for one in before.machine)]
    if before.checkpoint:
        lines += ["The checkpoint differs:", *(f"  {one}" for one in before.checkpoint)]
    return "\n".join(lines)


def _verdict(agreement: Agreement) -> str:
    counts = agreement.counts
    numbers = ", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items())
    if agreement.agrees:
        return f"Reproduced: everything that is judged agrees ({numbers})."
    if counts[DIFFERS]:
        names = dict.fromkeys(
            f"{row.point} {row.number}" for row in agreement.rows if row.verdict == DIFFERS
        )
        return f"Not reproduced: {'; '.join(names)} ({numbers})."
    return f"Nothing could be judged ({numbers}): the bundle has neither samples nor records."


def _by_place(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.point, row.task), []).append(row)
    return found


def _cells(row: Row) -> tuple[str, ...]:
    marks = {AGREES: AGREES, DIFFERS: DIFFERS.upper(), NOT_JUDGED: NOT_JUDGED}
    numbers = (_number(row.original), _number(row.again))
    return row.number, *numbers, marks[row.verdict], row.reason


def _number(value: float | None) -> str:
    if value is None:
        return NOT_KNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{N_DIGITS}g}"
