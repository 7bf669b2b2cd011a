"""Write the differences of environments and the comparison of two runs for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from moe_eval_plugin.publish.reproduce.speed_rows import SPEED_UP
from moe_eval_plugin.text import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.publish.reproduce.agreement import Agreement, Row, Verdict
    from moe_eval_plugin.publish.reproduce.preconditions import EnvironmentDifferences

NOT_KNOWN = "-"
HEADER = ("number", "original", "again", "verdict", "because")
MAX_PACKAGES = 12
SIGNIFICANT_DIGITS = 6
WORDS: Mapping[Verdict, str] = {AGREES: "agree", DIFFERS: "differ", NOT_JUDGED: "not judged"}


def render_agreement(agreement: Agreement) -> str:
    """Return a table for each task of each point, and the verdict at the end."""
    lines: list[str] = []
    for names, rows in _by_point_and_task(agreement.rows).items():
        lines += [" ".join(name for name in names if name)]
        lines += [f"  {line}" for line in align([HEADER, *map(_cells, rows)], "lrrl")]
        lines.append("")
    if agreement.settings:
        lines += [
            "Settings that differ, original -> again:",
            *(f"  {one}" for one in agreement.settings),
            "",
        ]
    lines += [f"Note: {note}" for note in agreement.notes]
    return "\n".join([*lines, _verdict(agreement)])


def render_before(before: EnvironmentDifferences) -> str:
    """Return how this environment and machine differ from those of the bundle."""
    if not before.packages and not before.machine and not before.checkpoint:
        return "Packages and machine are equal to those of the bundle."
    lines: list[str] = []
    if before.packages:
        left_out = len(before.packages) - MAX_PACKAGES
        lines.append(f"Packages that differ, bundle -> here ({len(before.packages)}):")
        lines += [f"  {line}" for line in before.packages[:MAX_PACKAGES]]
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
        return f"{_accuracy_text(agreement)} ({numbers}).{_speed_text(agreement)}"
    if counts[DIFFERS]:
        names = dict.fromkeys(
            f"{row.point} {row.number}" for row in agreement.rows if row.verdict == DIFFERS
        )
        return f"Not reproduced: {'; '.join(names)} ({numbers})."
    return f"Nothing could be judged ({numbers}): the bundle has neither samples nor records."


def _accuracy_text(agreement: Agreement) -> str:
    """Return how many settings agree in their accuracy; all that was judged agrees."""
    verdicts: dict[str, set[Verdict]] = {row.point: set() for row in agreement.rows}
    for row in agreement.rows:
        if row.kind == "accuracy":
            verdicts[row.point].add(row.verdict)
    n_agree = sum(found == {AGREES} for found in verdicts.values())
    if n_agree == 0:
        return "Reproduced, but no accuracy was judged"
    settings = "setting" if len(verdicts) == 1 else "settings"
    return f"Accuracy reproduced: {n_agree} of {len(verdicts)} {settings}"


def _speed_text(agreement: Agreement) -> str:
    """Return whether speed was judged and, if not, the speed-up that changed most."""
    speeds = [row for row in agreement.rows if row.kind == "speed"]
    if not speeds:
        return ""
    if any(row.verdict != NOT_JUDGED for row in speeds):
        return " Speed agrees where it was judged."
    changes = [
        (abs(row.again / row.original - 1), row.point, row.original, row.again)
        for row in speeds
        if row.number.endswith(SPEED_UP) and row.original and row.again
    ]
    if not changes:
        return " Speed was not judged; see --speed-within."
    change, point, original, again = max(changes)
    return (
        f" Speed was not judged: speed-ups differ by up to {change:.0%} ({point}: {original:.2f} "
        f"then, {again:.2f} now); see --speed-within."
    )


def _by_point_and_task(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
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
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{SIGNIFICANT_DIGITS}g}"
