"""List the questions whose answers changed, with their answers at each setting, for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.questions.answers import Answers, Texts
from moe_eval_plugin.report.questions.changes import KINDS, compare_answers, what_is_missing
from moe_eval_plugin.report.questions.thumbnails import Album, describe_absence, find_images
from moe_eval_plugin.stats.accuracy import right_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.questions.changes import SeriesChanges


def changed_questions(found: Sequence[SeriesStatistics], most: int) -> dict[str, Any]:
    """Return the questions whose answer or score is not that of the published k.

    At most ``most`` are listed for each setting and each kind of change. This is plain data for the
    page: ``series`` with its settings and how many questions changed at each, ``questions`` with
    the answers at all settings, ``texts`` by their numbers, and ``images``.
    """
    album, texts = Album(), Texts()
    compared = [one for one in (compare_answers(each, most) for each in found) if one is not None]
    sources = [find_images(one.baseline.first) for one in compared]
    questions: list[dict[str, Any]] = []
    for number, (one, source) in enumerate(zip(compared, sources, strict=True)):
        asked = one.baseline.first.questions
        # The album may become full: images of the setting that is shown first go into it first.
        pictures = {key: album.add(source, key, asked[key].prompt) for key in one.shown}
        answers = Answers(one, texts)
        questions += [
            {"s": number, "i": pictures[key], **answers.of(key, question)}
            for key, question in asked.items()
            if key in pictures
        ]
    notes = describe_absence(sources)
    if album.n_left_out:
        notes.append(
            f"{album.n_left_out:,} images are left out, to keep the file small or because they "
            "could not be read."
        )
    return {
        "series": [_series_part(one) for one in compared],
        "questions": questions,
        "texts": texts.all,
        "images": album.pictures,
        "notes": notes,
        "missing": [] if compared else [what_is_missing(one.series) for one in found],
    }


def _series_part(one: SeriesChanges) -> dict[str, Any]:
    """Return a series with its settings; those without answers have no ``changed``."""
    series, bounds = one.series, one.series.bounds
    changes = {each.point.label: each for each in one.settings}
    points = []
    for point in series.points:
        run, own = point.first, changes.get(point.label)
        points.append(
            {
                "label": point.label,
                "file": run.task.samples.name if run.task.samples else None,
                "unanswered": run.setup.n_unanswered or 0,
                "runs": len(point.runs),
                "compared": own.n_compared if own else None,
                "changed": own and {kind: len(own.of_kind[kind]) for kind in KINDS},
                "shown": own and {kind: list(own.shown.values()).count(kind) for kind in KINDS},
            }
        )
    return {
        "name": f"{series.name}, {series.task}",
        "baseline": one.baseline.label,
        "start": one.start,
        "id": one.baseline.first.answered and one.baseline.first.answered.key_name,
        "bounds": list(bounds),
        "right": right_from(bounds),
        "points": points,
    }
