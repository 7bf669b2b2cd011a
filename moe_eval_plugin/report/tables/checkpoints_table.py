"""Tables of the effects over checkpoints: a short one for the page, and all numbers as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.tables.column import NOT_KNOWN, Cell, Column
from moe_eval_plugin.report.tables.table import Table
from moe_eval_plugin.text import HUNDRED, p_value_text, points_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.answer.over_checkpoints import (
        SettingOverCheckpoints,
        TaskOverCheckpoints,
    )
    from moe_eval_plugin.report.tables.column import Value
    from moe_eval_plugin.stats import Interval


def _column(key: str, heading: str, meaning: str = "") -> Column:
    return Column(key, heading, meaning, lambda _, __: None)


# The columns of the page, and those of a second table.
EFFECTS = (
    _column("setting", "Setting", "Requested k"),
    _column(
        "difference",
        "Difference, points (95% interval)",
        "Mean over checkpoints of the accuracy minus that at the published k; the interval is for "
        "other checkpoints and other questions",
    ),
    _column("p_value", "p", "p-value of the difference, by its interval"),
    _column(
        "n_lower",
        "Lose accuracy",
        "Checkpoints with a lower accuracy than at the published k; those with the same accuracy "
        "count for neither side",
    ),
    _column(
        "speed_up",
        "Speed-up (95% interval)",
        "Geometric mean of the speed-ups of the checkpoints, with a t interval over them",
    ),
    _column(
        "routed_flop_share",
        "Routed FLOP share",
        "Share of the FLOPs of a prompt in routed experts at this k (rho), by the cost model",
    ),
)
PARTS = (
    EFFECTS[0],
    _column(
        "over_checkpoints",
        "These questions",
        "95% interval of the difference for other checkpoints, asked these questions",
    ),
    _column(
        "over_questions",
        "These checkpoints",
        "95% interval of the difference for other questions, asked of these checkpoints",
    ),
    _column(
        "share_lower",
        "Share that loses",
        "Exact 95% interval (Clopper-Pearson) of the share of checkpoints that lose accuracy",
    ),
    _column("sign_p_value", "p of the signs", "Exact p-value that losing is as likely as gaining"),
)


def effects_table(found: TaskOverCheckpoints) -> Table:
    """Return the effect of each setting; columns in which nothing is known are left out."""
    return _table(found, EFFECTS)


def parts_table(found: TaskOverCheckpoints) -> Table:
    """Return the two parts of each interval, and the signs."""
    return _table(found, PARTS)


def full_checkpoints_table(found: Sequence[TaskOverCheckpoints]) -> Table:
    """Return all numbers of all tasks, for CSV: scores in the unit in which they are shown."""
    rows = [dict(_full(task, one)) for task in found for one in task.settings]
    names = list(rows[0]) if rows else []
    return Table(
        tuple(_column(name, name) for name in names),
        tuple(tuple(Cell(row[name], "") for name in names) for row in rows),
    )


def _table(found: TaskOverCheckpoints, columns: Sequence[Column]) -> Table:
    rows = [_cells(found, one) for one in found.settings]
    known = [column for column in columns if any(row[column.key].value is not None for row in rows)]
    return Table(tuple(known), tuple(tuple(row[one.key] for one in known) for row in rows))


def _cells(found: TaskOverCheckpoints, one: SettingOverCheckpoints) -> dict[str, Cell]:
    """Return the cells of a setting, by the keys of their columns."""
    scale, own, signs = found.scale, one.difference, one.difference.signs
    share = one.routed_flop_share
    mean = points_text(own.difference * scale, sign=True)
    ends = _interval(own.interval, scale)
    n_signs = signs.n_lower + signs.n_higher
    equal = f", {signs.n_equal} equal" if signs.n_equal else ""
    return {
        "setting": Cell(one.label, one.label),
        "difference": Cell(own.difference * scale, f"{mean} ({ends})" if ends else mean),
        "p_value": _p_cell(own.p_value),
        "n_lower": Cell(signs.n_lower, f"{signs.n_lower} of {n_signs}{equal}"),
        "speed_up": _speed_cell(one),
        "routed_flop_share": Cell(share, NOT_KNOWN if share is None else f"{share * HUNDRED:.1f}%"),
        "over_checkpoints": _ends_cell(own.over_checkpoints, scale),
        "over_questions": _ends_cell(own.over_questions, scale),
        "share_lower": _share_cell(signs.share_lower),
        "sign_p_value": _p_cell(signs.p_value),
    }


def _interval(found: Interval | None, scale: float) -> str:
    if found is None:
        return ""
    low, high = (points_text(end * scale, sign=True) for end in (found.low, found.high))
    return f"{low} to {high}"


def _ends_cell(found: Interval | None, scale: float) -> Cell:
    text = _interval(found, scale)
    return Cell(text or None, text)


def _share_cell(found: Interval | None) -> Cell:
    if found is None:
        return Cell(None, NOT_KNOWN)
    return Cell(found.low, f"{found.low * HUNDRED:.0f}% to {found.high * HUNDRED:.0f}%")


def _p_cell(value: float | None) -> Cell:
    if value is None:
        return Cell(None, NOT_KNOWN)
    return Cell(value, p_value_text(value))


def _speed_cell(one: SettingOverCheckpoints) -> Cell:
    found = one.speed_up
    if found is None:
        return Cell(None, NOT_KNOWN)
    text = f"{found.ratio:.2f}×"
    if found.interval is not None:
        text = f"{text} ({found.interval.low:.2f} to {found.interval.high:.2f})"
    return Cell(found.ratio, text)


def _full(task: TaskOverCheckpoints, one: SettingOverCheckpoints) -> list[tuple[str, Value]]:
    """List the names and values of a row, in the order of the columns."""
    own, scale, signs, speed = one.difference, task.scale, one.difference.signs, one.speed_up
    return [
        ("task", task.task),
        ("metric", task.metric),
        ("setting", one.label),
        ("routed_flop_share", one.routed_flop_share),
        ("n_checkpoints", own.n_checkpoints),
        ("n_questions", own.n_questions),
        ("n_clusters", own.n_clusters),
        ("difference", own.difference * scale),
        ("spread", None if own.spread is None else own.spread * scale),
        *_ends("difference", own.interval, scale),
        *_ends("over_checkpoints", own.over_checkpoints, scale),
        *_ends("over_questions", own.over_questions, scale),
        ("p_value", own.p_value),
        ("n_lower", signs.n_lower),
        ("n_higher", signs.n_higher),
        ("n_equal", signs.n_equal),
        *_ends("share_lower", signs.share_lower, 1.0),
        ("sign_p_value", signs.p_value),
        ("speed_up", speed.ratio if speed else None),
        *_ends("speed_up", speed.interval if speed else None, 1.0),
    ]


def _ends(name: str, found: Interval | None, scale: float) -> list[tuple[str, Value]]:
    return [
        (f"{name}_low", found.low * scale if found else None),
        (f"{name}_high", found.high * scale if found else None),
    ]
