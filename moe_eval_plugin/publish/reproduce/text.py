"""Write the differences of environments and the comparison of two runs for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from moe_eval_plugin.publish.reproduce.aspects import (
    ASPECTS,
    aspect_lines,
    main_speed_ups,
    verdict_of,
)
from moe_eval_plugin.stats.speed import SpeedRatio
from moe_eval_plugin.text import fit, setting_label, with_minus, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.publish.reproduce.agreement import Agreement, Row
    from moe_eval_plugin.publish.reproduce.preconditions import EnvironmentDifferences
    from moe_eval_plugin.stats.resampling import Interval

NOT_KNOWN = "-"
HEADER = ("number", "original", "again", "verdict", "because")
SUMMARY = (
    *("setting", "task", "batch", "accuracy then", "now"),
    *("speed-up then", "speed-up now", "verdict"),
)
# Left out of the summary where all rows have the same.
OPTIONAL = ("task", "batch")
LEFT = ("setting", "task", "speed-up then", "speed-up now", "verdict")
MAX_PACKAGES = 12
SIGNIFICANT_DIGITS = 6


def render_agreement(agreement: Agreement, *, verbose: bool = False) -> str:
    """Return a row for each setting and a line for each aspect; with ``verbose`` every number."""
    lines: list[str] = []
    if verbose:
        for (point, task), rows in _grouped(agreement.rows).items():
            lines += [f"{setting_label(point)} {task}".strip()]
            lines += fit([HEADER, *map(_cells, rows)], "lrrl")
            lines.append("")
    lines += [*_summary(agreement.rows), ""]
    if agreement.settings:
        lines += [
            "Settings that differ, original -> again:",
            *_items(agreement.settings),
            "",
        ]
    lines += [line for note in agreement.notes for line in wrap(f"Note: {note}")]
    lines += [line for aspect in aspect_lines(agreement.rows) for line in wrap(aspect, rest="  ")]
    return "\n".join([*lines, *_nothing(agreement)])


def render_before(before: EnvironmentDifferences) -> str:
    """Return how this environment and machine differ from those of the bundle."""
    if not before.packages and not before.machine and not before.checkpoint:
        return "Packages and machine are equal to those of the bundle."
    lines: list[str] = []
    if before.packages:
        left_out = len(before.packages) - MAX_PACKAGES
        lines.append(f"Packages that differ, bundle -> here ({len(before.packages)}):")
        lines += _items(before.packages[:MAX_PACKAGES])
        lines += [f"  ... and {left_out} more, all in --json"] if left_out > 0 else []
    if before.machine:
        lines += ["The machine differs, bundle -> here:", *_items(before.machine)]
    if before.checkpoint:
        lines += ["The checkpoint differs:", *_items(before.checkpoint)]
    return "\n".join(lines)


def _items(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in wrap(text, first="  ", rest="    ")]


def _nothing(agreement: Agreement) -> list[str]:
    if agreement.counts[AGREES] or agreement.counts[DIFFERS]:
        return []
    return ["Nothing could be judged: the bundle has neither samples nor records."]


def _summary(rows: Sequence[Row]) -> list[str]:
    """Return a row for each setting, task and batch size of the speed-up."""
    table: list[tuple[str, ...]] = []
    for (point, task), own in _grouped(rows).items():
        scores = [row for row in own if row.kind == "accuracy" and row.original is not None]
        speeds: Sequence[Row | None] = main_speed_ups(own) or [None]
        for speed in speeds:
            batch = (speed.number if speed else "").rpartition("batch size ")[2]
            table.append(
                (
                    setting_label(point),
                    task,
                    batch if batch.isdigit() else "",
                    _percent(scores[0].original if scores else None),
                    _percent(scores[0].again if scores else None),
                    _speed_up(speed.original, speed.original_interval) if speed else "",
                    _speed_up(speed.again, speed.interval) if speed else "",
                    _verdict(own, speed),
                )
            )
    kept = [
        column
        for column in zip(SUMMARY, *table, strict=True)
        if column[0] not in OPTIONAL or len({cell for cell in column[1:] if cell}) > 1
    ]
    letters = "".join("l" if column[0] in LEFT else "r" for column in kept)
    return fit(list(zip(*kept, strict=True)), letters)


def _verdict(rows: Sequence[Row], speed: Row | None) -> str:
    """Return what is to be said of one setting in a few words."""
    own = [row for row in rows if row.kind != "speed"]
    differing = dict.fromkeys(ASPECTS[row.kind].lower() for row in own if row.verdict == DIFFERS)
    if speed is not None and speed.verdict == DIFFERS:
        differing["speed-up"] = None
    if differing:
        return f"NOT REPRODUCED: {', '.join(differing)}"
    first = "reproduced" if verdict_of(own) == AGREES else "not judged"
    if speed is None or speed.verdict == AGREES:
        return first
    if speed.changed_sign:
        return f"accuracy {first}; the speed-up changed its sign"
    return f"accuracy {first}; speed not judged"


def _percent(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2%}" if 0 <= value <= 1 else f"{value:,.4g}"


def _speed_up(ratio: float | None, interval: Interval | None) -> str:
    return "" if ratio is None else SpeedRatio(ratio, interval, None).text


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.point, row.task), []).append(row)
    return found


def _cells(row: Row) -> tuple[str, ...]:
    marks = {AGREES: AGREES, DIFFERS: DIFFERS.upper(), NOT_JUDGED: NOT_JUDGED}
    numbers = (_number(row.original), _number(row.again))
    return row.number, *numbers, marks[row.verdict], with_minus(row.reason)


def _number(value: float | None) -> str:
    if value is None:
        return NOT_KNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{SIGNIFICANT_DIGITS}g}"
