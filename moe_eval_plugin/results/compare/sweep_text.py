"""Render the comparison of a sweep with its baseline: a row for each setting and task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.results.compare.comparison import TOO_FEW, WITHIN
from moe_eval_plugin.results.compare.text import (
    change_text,
    interval_text,
    margin_text,
    rate_text,
    score_text,
)
from moe_eval_plugin.text import fit, setting_label, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.results.compare.comparison import ScoreComparison, TaskComparison
    from moe_eval_plugin.results.compare.speed import RateComparison
    from moe_eval_plugin.results.compare.sweep import SweepComparison

QUESTIONS_PER_S = "questions/s"
HEADER = (
    *("setting", "kind", "experts", "task", "score", "batch"),
    *("accuracy", "change (95%)", "verdict", QUESTIONS_PER_S, "speed-up"),
)
# Left out where all rows have the same.
OPTIONAL = ("kind", "experts", "task", "score", "batch")
SPARE = (QUESTIONS_PER_S,)
LEFT = ("setting", "kind", "task", "score", "verdict", "speed-up")
SHORT_KINDS = {
    SettingKind.UNIFORM.value: "uniform",
    SettingKind.SCHEDULE.value: "by hand",
    SettingKind.SEARCHED.value: "searched",
    SettingKind.POLICY.value: "policy",
}
VERDICT = HEADER.index("verdict")
FEW = "too few"
FEW_MEANING = "too few (~N): there are too few questions to tell, about N would do."
# What follows a verdict in a wide table, and is said below a narrow one.
MORE = re.compile(r" (?:\(~.*\)|[\d.]+ points?)$")


def render_sweep(comparison: SweepComparison) -> str:
    """Return a row for each setting and task, the baseline first, and notes."""
    rows = [*_baseline_rows(comparison), *_rows(comparison)]
    columns = [
        column
        for column in zip(HEADER, *rows, strict=True)
        if (len(set(column[1:])) > 1 if column[0] in OPTIONAL else any(column[1:]))
    ]
    letters = "".join("l" if column[0] in LEFT else "r" for column in columns)
    table = fit(list(zip(*columns, strict=True)), letters, SPARE)
    meaning = [FEW_MEANING] if any(FEW in row[VERDICT] for row in rows) else []
    if len(table) > len(columns[0]):
        short = [
            [MORE.sub("", cell) for cell in column] if column[0] == "verdict" else column
            for column in columns
        ]
        table = fit(list(zip(*short, strict=True)), letters, SPARE)
        meaning = list(_meanings(comparison))
    lines = [line for text in meaning for line in wrap(text)]
    return "\n".join(
        [*_head(comparison), "", *table, *[""] * bool(lines), *lines, "", *_notes(comparison)]
    ).rstrip()


def _meanings(comparison: SweepComparison) -> Iterator[str]:
    """Yield what the verdicts of a narrow table leave out."""
    needed: dict[str, list[str]] = {}
    for name, task in comparison.tasks:
        for score in task.scores:
            test = score.equivalence
            if test is not None:
                needed.setdefault(f"Margin: {margin_text(score, test.margin)}.", [])
            if test is not None and test.n_questions_needed and score.verdict == TOO_FEW:
                text = f"Too few questions to tell: about {test.n_questions_needed:,} would, for "
                needed.setdefault(text, []).append(setting_label(name))
    for text, names in needed.items():
        yield f"{text}{', '.join(dict.fromkeys(names))}{'.' if names else ''}"


def _head(comparison: SweepComparison) -> Iterator[str]:
    labels = ", ".join(map(setting_label, dict.fromkeys(comparison.baseline_of.values())))
    yield from wrap(f"{comparison.folder}: changes are in points, against {labels}")
    for task, n in dict.fromkeys((one.task, one.n_questions) for _, one in comparison.tasks):
        yield f"{task}: {n:,} questions"


def _baseline_rows(comparison: SweepComparison) -> Iterator[tuple[str, ...]]:
    """Yield the rows of each baseline, as the first setting was compared with it."""
    first: dict[tuple[str, str], TaskComparison] = {}
    shows = _shows_kind(comparison)
    for name, task in comparison.tasks:
        first.setdefault((comparison.baseline_of[name], task.task), task)
    for (name, _), task in first.items():
        for score, rate in _cells(task):
            accuracy = score_text(score, score.difference.baseline_value) if score else ""
            speed = rate_text(rate.a) if rate and rate.a else ""
            names = _names(name, task, score, rate, side=0, shows_kind=shows)
            yield *names, accuracy, "", "", speed, ""


def _shows_kind(comparison: SweepComparison) -> bool:
    """Whether there is a schedule or a policy: else the name of a setting says what it costs."""
    kinds = {kind for _, task in comparison.tasks for kind in task.kinds}
    return bool(kinds - {None, SettingKind.UNIFORM.value})


def _rows(comparison: SweepComparison) -> Iterator[tuple[str, ...]]:
    shows = _shows_kind(comparison)
    for name, task in comparison.tasks:
        for score, rate in _cells(task):
            yield (
                *_names(name, task, score, rate, side=1, shows_kind=shows),
                score_text(score, score.difference.value) if score else "",
                _change(score) if score else "",
                _verdict(score) if score else "",
                rate_text(rate.b) if rate and rate.b else "",
                rate.speed_up.text if rate and rate.speed_up else "",
            )


def _cells(
    task: TaskComparison,
) -> list[tuple[ScoreComparison | None, RateComparison | None]]:
    """Return the lines of a task: one for each score, and for each further batch size."""
    scores: Sequence[ScoreComparison | None] = task.scores or [None]
    rates: Sequence[RateComparison | None] = (task.speed.rates if task.speed else ()) or [None]
    return [
        *((score, rates[0]) for score in scores),
        *((scores[0], rate) for rate in rates[1:]),
    ]


def _names(
    name: str,
    task: TaskComparison,
    score: ScoreComparison | None,
    rate: RateComparison | None,
    *,
    side: int,
    shows_kind: bool,
) -> tuple[str, ...]:
    """Return the cells that say which setting a row is of; ``side`` is 0 for A and 1 for B."""
    batch = str(rate.batch_size) if rate and rate.batch_size else ""
    kind, price = SHORT_KINDS.get(task.kinds[side] or "", ""), task.prices[side]
    experts = "" if price is None else f"{price:.2f}"
    shown = (kind, experts) if shows_kind else ("", "")
    return setting_label(name), *shown, task.task, score.metric if score else "", batch


def _change(score: ScoreComparison) -> str:
    one = score.difference
    return f"{change_text(score, one.difference)} ({interval_text(score, one.interval)})"


def _verdict(score: ScoreComparison) -> str:
    if score.verdict is None or score.equivalence is None:
        return ""
    if score.verdict == WITHIN:
        return f"within {margin_text(score, score.equivalence.margin)}"
    needed = score.equivalence.n_questions_needed
    if score.verdict == TOO_FEW and needed is not None:
        return f"{FEW} (~{needed:,})"
    return score.verdict


def _notes(comparison: SweepComparison) -> Iterator[str]:
    """Yield each note once; one that does not hold for all settings begins with its setting."""
    of_setting = {
        name: dict.fromkeys([*one.notes, *(note for task in one.tasks for note in _of(task))])
        for name, one in comparison.settings.items()
    }
    for name, notes in of_setting.items():
        for note in notes:
            if not all(note in others for others in of_setting.values()):
                yield from wrap(f"Note: {setting_label(name)}: {note}")
    for note in next(iter(of_setting.values())):
        if all(note in others for others in of_setting.values()):
            yield from wrap(f"Note: {note}")


def _of(task: TaskComparison) -> Iterator[str]:
    """Yield the notes on a task, and why it has no speed-up."""
    yield from task.notes
    for rate in task.speed.rates if task.speed else ():
        if rate.no_speed_up_because:
            yield f"No speed-up: {rate.no_speed_up_because}."
