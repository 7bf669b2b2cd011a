"""Render a comparison: tables for a terminal, and the changed questions as CSV and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.results.compare.comparison import GAINS_MORE, LOSES_MORE, WITHIN
from moe_eval_plugin.text import (
    GAP,
    HUNDRED,
    align,
    csv_text,
    fit,
    formatted,
    labelled,
    points_text,
    terminal_width,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.results.compare.comparison import (
        Change,
        Comparison,
        ScoreComparison,
        Setting,
        TaskComparison,
    )
    from moe_eval_plugin.results.compare.speed import RateComparison, SpeedComparison
    from moe_eval_plugin.stats.equivalence import Equivalence
    from moe_eval_plugin.stats.resampling import Interval

LONGEST_SETTING = 40
NOT_KNOWN = ""
UNSET = "-"
LEAST_P = 0.0001
TEN = 10


def render(comparison: Comparison) -> str:
    """Return a comparison as text: each task with scores, changes, settings and notes."""
    head = labelled([("A", comparison.a), ("B", comparison.b)])
    blocks = [head, *(list(_task(task)) for task in comparison.tasks)]
    if comparison.notes:
        blocks.append([line for note in comparison.notes for line in wrap(f"Note: {note}")])
    return "\n\n".join("\n".join(block) for block in blocks)


def changes_json(changes: Sequence[Change]) -> str:
    """Return the changed questions as JSON, one object for each."""
    return json.dumps([change.to_dict() for change in changes], ensure_ascii=False, indent=1) + "\n"


def changes_csv(changes: Sequence[Change]) -> str:
    """Return the changed questions as CSV, with two columns for each score."""
    metrics = list(dict.fromkeys(metric for change in changes for metric in change.scores_a))
    names = ["task", "question", "change", "answer_a", "answer_b"]
    pairs = [f"{metric}_{side}" for metric in metrics for side in "ab"]
    rows: list[list[object]] = [[*names, *pairs, "target", "prompt"]]
    for change in changes:
        scores = [
            scores.get(metric)
            for metric in metrics
            for scores in (change.scores_a, change.scores_b)
        ]
        texts = [getattr(change, name) for name in names]
        rows.append([*texts, *scores, change.target, change.prompt])
    return csv_text(rows)


def _task(task: TaskComparison) -> Iterator[str]:
    equal = "not counted" if task.equal_answers is None else f"{task.equal_answers:.2%}"
    yield f"{task.task}: {task.n_questions:,} questions, equal answers {equal}"
    if task.scores:
        yield ""
        rows = [HEADER, *(_score_row(score) for score in task.scores)]
        yield from fit(rows, "lr", SPARE)
    for score in task.scores:
        yield from _sentences(task, score)
    if task.speed is not None:
        yield from _speed(task.speed)
    if task.changes:
        counts = ", ".join(f"{kind} {n:,}" for kind, n in task.change_counts.items())
        yield from wrap(f"Changed questions: {len(task.changes):,} ({counts})")
    yield ""
    yield from _settings_table(task.settings)
    for note in task.notes:
        yield from wrap(f"Note: {note}")


HEADER = ("score", "A", "B", "change", "95% interval", "p", "p (Holm)", "kept", "higher", "lower")
SPARE = ("p", "kept", "higher", "lower", "p (Holm)")


def _score_row(score: ScoreComparison) -> tuple[str, ...]:
    one = score.difference
    return (
        score.metric,
        score_text(score, one.baseline_value),
        score_text(score, one.value),
        change_text(score, one.difference),
        interval_text(score, one.interval),
        _p(one.p_value),
        _p(one.adjusted_p_value),
        NOT_KNOWN if one.retention is None else f"{one.retention:.1%}",
        f"{one.n_higher:,}",
        f"{one.n_lower:,}",
    )


def result_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the change of each task in a line: its first score, the verdict and the speed-up."""
    for task in comparison.tasks:
        ratios = task.speed.rates if task.speed else ()
        ratio = next((one.speed_up for one in ratios if one.speed_up is not None), None)
        speed = f"; {ratio.text} as fast" if ratio else ""
        for score in task.scores[:1]:
            unit = " points" if score.is_share else ""
            change = f"{change_text(score, score.difference.difference)}{unit}"
            yield f"{task.task}: B against A {change} ({_verdict_words(score)}){speed}."


def _verdict_words(score: ScoreComparison) -> str:
    """Return what is shown of a difference, in a few words."""
    if score.equivalence is None or score.verdict is None:
        return f"95% interval {interval_text(score, score.difference.interval)}"
    margin = margin_text(score, score.equivalence.margin)
    if score.verdict == WITHIN:
        return f"within {margin}"
    if score.verdict in (LOSES_MORE, GAINS_MORE):
        return f"{score.verdict} than {margin}"
    return f"too few questions to tell whether it is within {margin}"


def score_text(score: ScoreComparison, value: float) -> str:
    """Return a mean score: percent where questions score from 0 to 1."""
    return f"{value:.2%}" if score.is_share else f"{value:.4g}"


def change_text(score: ScoreComparison, value: float) -> str:
    """Return a difference in points, with a sign; in the unit of the score where it has others."""
    return points_text(value * HUNDRED, sign=True) if score.is_share else formatted(value, "+.4g")


def interval_text(score: ScoreComparison, interval: Interval) -> str:
    """Return an interval of a difference."""
    return f"{change_text(score, interval.low)} to {change_text(score, interval.high)}"


def margin_text(score: ScoreComparison, margin: float) -> str:
    """Return the margin of the equivalence test with its unit."""
    if not score.is_share:
        return f"{margin:g}"
    points = margin * HUNDRED
    return f"{points:g} point{'' if points == 1 else 's'}"


def _sentences(task: TaskComparison, score: ScoreComparison) -> Iterator[str]:
    one = score.difference
    if score is task.scores[0]:
        clusters = f"{one.n_clusters:,} images" if task.clustered_by else "single questions"
        yield from wrap(f"p by {one.test}, interval resampled over {clusters}")
    if score.equivalence is not None:
        yield from wrap(_equivalence(score, score.equivalence))


def _equivalence(score: ScoreComparison, test: Equivalence) -> str:
    """Return the result of the equivalence test, and how many questions it would need."""
    metric, margin = score.metric, margin_text(score, test.margin)
    interval = f"90% interval {interval_text(score, test.interval)}"
    if score.verdict == WITHIN:
        return f"{metric} is within {margin} of A ({interval})."
    if score.verdict in (LOSES_MORE, GAINS_MORE):
        return f"{metric} {score.verdict} than {margin} against A ({interval})."
    text = f"Too few questions to tell whether {metric} is within {margin} of A ({interval})."
    if test.n_questions_needed is not None:
        text += f" You would need about {test.n_questions_needed:,} if nothing was lost"
        as_observed = test.n_questions_needed_as_observed
        text += f", {as_observed:,} if the loss is the one seen here." if as_observed else "."
    return text


def _speed(speed: SpeedComparison) -> Iterator[str]:
    """Yield a line for each measured quantity of both runs."""
    lines = [(_rate_name(one), _both(one.a, one.b) + _ratio_text(one)) for one in speed.rates]
    lines.append(("tokens per answer", _both(*speed.tokens_per_answer)))
    lines.append(("peak memory, GiB", _both(*speed.peak_memory_gib)))
    yield from labelled(line for line in lines if line[1] != _both(None, None))


def _rate_name(rate: RateComparison) -> str:
    return f"questions/s{f' at batch size {rate.batch_size}' if rate.batch_size else ''}"


def _both(a: float | None, b: float | None) -> str:
    return f"{rate_text(a)} -> {rate_text(b)}"


def rate_text(value: float | None) -> str:
    """Return a rate or a size with three digits or more."""
    if value is None:
        return NOT_KNOWN
    return f"{value:,.1f}" if value >= TEN else f"{value:.2f}"


def _ratio_text(rate: RateComparison) -> str:
    if rate.no_speed_up_because:
        return f" (no speed-up: {rate.no_speed_up_because})"
    if rate.speed_up is None:
        return ""
    # An interval has parentheses of its own.
    return f": {rate.speed_up.text}" if rate.speed_up.interval else f" ({rate.speed_up.text})"


def _settings_table(settings: Sequence[Setting]) -> list[str]:
    """Return the values of A and B, cut so that both fit into a line."""
    longest = max((len(setting.name) for setting in settings), default=0)
    width = min(LONGEST_SETTING, (terminal_width() - longest - 2 * len(GAP)) // 2)
    rows = [(one.name, _short(one.a, width), _short(one.b, width)) for one in settings]
    return align([("", "A", "B"), *rows])


def _short(value: str | None, width: int) -> str:
    if value is None:
        return UNSET
    return value if len(value) <= width else f"{value[: max(width - 3, 1)]}..."


def _p(value: float | None) -> str:
    if value is None:
        return NOT_KNOWN
    return f"<{LEAST_P}" if value < LEAST_P else f"{value:.4f}"
