"""Whether a run is too small, too easy or too hard to conclude anything from it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.question_types import YES_NO
from moe_eval_plugin.text import HUNDRED, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics

MIN_IMAGES = 50
NEAR_0, NEAR_1 = 0.02, 0.995
LETTER = re.compile(r"\(?[a-z]\)?\.?")


def smoke_test_reasons(baseline: PointStatistics, margin: float, scale: float) -> Iterator[str]:
    """Yield why a run is a smoke test; nothing for a run that conclusions may be drawn from.

    ``baseline`` is the setting that the others are compared with, ``margin`` the largest loss that
    counts as none, both in the unit of the score. Only shares (``scale`` 100) can be near 0 or 100,
    and only the score of the published k says that others have nothing to lose.
    """
    yield from _few_images(baseline)
    if scale != HUNDRED or not baseline.point.is_baseline:
        return
    name, score = baseline.point.label, f"{baseline.accuracy * scale:.2f}%"
    if baseline.accuracy <= max(NEAR_0, margin):
        yield f"{name} scores {score}, so a smaller k has nothing to lose"
    elif baseline.accuracy >= NEAR_1:
        yield f"{name} scores {score}: the questions are too easy to show what a smaller k loses"
    elif (chance := _chance(baseline)) is not None:
        low = baseline.accuracy if baseline.interval is None else baseline.interval[0]
        if low <= chance:
            yield (
                f"{name} scores {score}, which is not shown to be better than one answer to "
                f"every question ({chance * scale:.2f}%)"
            )


def _few_images(one: PointStatistics) -> Iterator[str]:
    # A score may be of more questions than may judge.
    n_questions = len(one.questions.scores) or one.n_questions
    n, what = (one.n_images, "image") if one.n_images else (n_questions, "question")
    if n is not None and n < MIN_IMAGES:
        asked = "" if what == "question" else f"{counted(one.n_questions or 0, 'question')} on "
        yield f"{asked}{counted(n, what)} (at least {MIN_IMAGES} {what}s are needed)"


def _chance(one: PointStatistics) -> float | None:
    """Return the score of the best constant answer; ``None`` unless all answers are closed.

    Closed are yes and no, and the letters of multiple choice: there a model without any knowledge
    scores as much. With open answers nothing is known of chance.
    """
    questions = one.questions.questions
    targets = [questions[key].target.strip().lower() for key in one.questions.scores]
    is_closed = set(targets) <= YES_NO or all(LETTER.fullmatch(text) for text in targets)
    if not targets or not is_closed:
        return None
    counts = Counter(text.strip("().") for text in targets)
    return max(max(counts.values()) / len(targets), 1 / max(len(counts), 2))
