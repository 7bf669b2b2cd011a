"""Judge each aspect of a repetition by itself: accuracy, experts used, counts and speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce.agreement import (
    AGREES,
    DIFFERS,
    NOT_JUDGED,
    TIMED_ONCE,
)
from moe_eval_plugin.text import setting_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.publish.reproduce.agreement import Kind, Row, Verdict

ASPECTS: dict[Kind, str] = {
    "accuracy": "Accuracy",
    "experts": "Experts used",
    "count": "Questions and tokens",
    "speed": "Speed",
}
MOST_NAMES = 4


def aspect_lines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each aspect that has rows: reproduced, not reproduced or not judged."""
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in ASPECTS}
    return [f"{ASPECTS[kind]}: {_text(kind, own)}" for kind, own in by_kind.items() if own]


def verdict_of(rows: Iterable[Row]) -> Verdict:
    """Return one verdict on several numbers: what differs counts most, then what agrees."""
    verdicts = {row.verdict for row in rows}
    return next((one for one in (DIFFERS, AGREES) if one in verdicts), NOT_JUDGED)


def main_speed_ups(rows: Iterable[Row]) -> list[Row]:
    """List the speed-ups in questions per second, not those in tokens."""
    return [row for row in rows if row.is_speed_up and "tokens" not in row.number]


def _text(kind: Kind, rows: Sequence[Row]) -> str:
    differing = [row for row in rows if row.verdict == DIFFERS]
    if differing:
        return f"not reproduced: {_names(differing)}."
    if kind == "speed":
        return _speed_text(rows)
    if verdict_of(rows) == NOT_JUDGED:
        return f"not judged: {rows[0].reason}."
    return f"reproduced, {_settings_text(rows)}." if kind == "accuracy" else "reproduced."


def _settings_text(rows: Iterable[Row]) -> str:
    verdicts: dict[str, set[Verdict]] = {}
    for row in rows:
        verdicts.setdefault(row.point, set()).add(row.verdict)
    n_agree = sum(found == {AGREES} for found in verdicts.values())
    return f"{n_agree} of {len(verdicts)} setting{'s' if len(verdicts) > 1 else ''}"


def _speed_text(rows: Sequence[Row]) -> str:
    """Return the verdict on speed where nothing differs by more than its interval."""
    found = main_speed_ups(rows) or [row for row in rows if "tokens" not in row.number]
    what = "speed-up" if found and found[0].is_speed_up else "speed"
    n_agree = sum(row.verdict == AGREES for row in found)
    if found and n_agree == len(found):
        return f"reproduced, {n_agree} of {len(found)} {what}{'s' if len(found) > 1 else ''}."
    turned = [row for row in found if row.changed_sign]
    parts = [f"not judged: {_why_not_judged(found)}"]
    if turned:
        names = ", ".join(_then_and_now(row) for row in turned[:MOST_NAMES])
        parts.append(f"the sign changed at {names}")
    if n_agree:
        parts.append(f"{n_agree} of {len(found)} {what}s agree")
    return f"{'; '.join(parts)}."


def _why_not_judged(rows: Sequence[Row]) -> str:
    changes = [
        (abs(row.again / row.original - 1), setting_label(row.point))
        for row in rows
        if row.original and row.again and row.verdict == NOT_JUDGED
    ]
    reasons = [row.reason for row in rows if row.verdict == NOT_JUDGED]
    if not changes:
        return reasons[0] if reasons else "no speed was measured"
    change, name = max(changes)
    size = f"speed-ups differ by up to {change:.0%} ({name})"
    if not any(row.is_speed_up for row in rows):
        size = f"speeds differ by up to {change:.0%} ({name})"
    return f"{TIMED_ONCE}; {size}" if any(TIMED_ONCE in one for one in reasons) else size


def _names(rows: Sequence[Row]) -> str:
    texts = [
        _then_and_now(row) if row.is_speed_up else f"{setting_label(row.point)} {row.number}"
        for row in rows
    ]
    texts = list(dict.fromkeys(texts))
    more = [f"and {len(texts) - MOST_NAMES} more"] if len(texts) > MOST_NAMES else []
    return ", ".join([*texts[:MOST_NAMES], *more])


def _then_and_now(row: Row) -> str:
    return f"{setting_label(row.point)} ({row.original:.2f}× then, {row.again:.2f}× now)"
