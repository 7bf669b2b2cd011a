"""List the questions that are right at the published k and wrong at another setting."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.analysis.question_types import answer_type
from moe_eval_plugin.report.questions.thumbnails import Album, describe_absence, find_images
from moe_eval_plugin.stats.accuracy import right_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.series import FinishedTask, ReportPoint, Series
    from moe_eval_plugin.results.samples import Question

LONGEST_TEXT = 400


def changed_questions(all_series: Sequence[Series], most: int) -> dict[str, Any]:
    """Return the questions that changed from right to wrong, at most ``most`` for each setting.

    This is plain data for the page: ``series`` with its settings and how many questions changed
    at each, ``questions`` with the answers at all settings, and ``images``. Of several runs of a
    setting, the first one is used.
    """
    album = Album()
    listed: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    sources = []
    for series in all_series:
        if series.baseline is None or not series.baseline.first.questions or len(series.points) < 2:  # noqa: PLR2004
            continue
        source = find_images(series.baseline.first)
        sources.append(source)
        lost = {point.label: _lost(series, point) for point in series.points}
        chosen = {label: set(_chosen(keys, most)) for label, keys in lost.items()}
        listed.append(
            {
                "name": series.name,
                "task": series.task,
                "baseline": series.baseline.label,
                "points": [
                    {"label": label, "changed": len(keys), "shown": len(chosen[label])}
                    for label, keys in lost.items()
                    if label != series.baseline.label
                ],
            }
        )
        for key, question in series.baseline.first.questions.items():
            at = [label for label, keys in chosen.items() if key in keys]
            if at:
                number = album.add(source, key, question.prompt)
                entry = _entry(series, key, question, at)
                shown.append({"s": len(listed) - 1, "i": number, **entry})
    notes = describe_absence(sources)
    if album.n_left_out:
        notes.append(
            f"{album.n_left_out:,} images are left out, to keep the file small or because they "
            "could not be read."
        )
    return {"series": listed, "questions": shown, "images": album.pictures, "notes": notes}


def _lost(series: Series, point: ReportPoint) -> list[str]:
    """List the questions that are right at the baseline and wrong at this setting."""
    assert series.baseline is not None  # noqa: S101
    base, own = series.baseline.first.questions, point.first.questions
    metric, right = series.metric, right_from(series.bounds)
    return [
        key
        for key, question in base.items()
        if key in own and question.scores[metric] >= right > own[key].scores[metric]
    ]


def _chosen(keys: Sequence[str], most: int) -> list[str]:
    """Return some at random: the same ones in every report, and for each k if possible."""
    return sorted(keys, key=lambda key: (zlib.crc32(key.encode()), key))[:most]


def _entry(series: Series, key: str, question: Question, at: Sequence[str]) -> dict[str, Any]:
    """Return a question with its answers; names are short, since there may be thousands."""
    assert series.baseline is not None  # noqa: S101
    answers = []
    for point in series.points:
        own = point.first.questions.get(key)
        if own is not None:
            right = own.scores[series.metric] >= right_from(series.bounds)
            answers.append([point.label, _cut(own.answer or ""), int(right)])
    return {
        "k": key,
        "q": _cut(_question_text(series.baseline.first, question)),
        "t": _cut(question.target),
        "y": answer_type(series.baseline.first, key),
        "a": answers,
        "w": list(at),
    }


def _question_text(run: FinishedTask, question: Question) -> str:
    """Return the question without the prefix and the suffix of its task."""
    text = question.prompt.removeprefix(run.task.prompt_prefix)
    return text.removesuffix(run.task.prompt_suffix).strip() or question.prompt


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
