"""VQA accuracy: how far a short answer agrees with the answers that people gave.

The rules are those of the VQA challenge (https://visualqa.org/evaluation.html), with the tables
and the oddities that its script has had since 2016, because published figures contain them. They
are kept on purpose and named where they occur. Scorers differ in details, so each is a
``ScoringMode``, whose name stands in the results. Scores run from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.vqa.normalise import (
    Normaliser,
    as_written,
    drop_punctuation,
    normalise,
    normalise_like_mmf,
    normalise_officially,
    tidy,
)
from moe_eval_plugin.vqa.stemming import stem

if TYPE_CHECKING:
    from collections.abc import Sequence

MATCHES_FOR_FULL_SCORE = 3
STEMMED_PREDICTIONS = "+stemmed-predictions"


@dataclass(frozen=True)
class Forms:
    """How the prediction, and each of the answers, is rewritten before the two are compared."""

    prediction: Normaliser
    answers: Normaliser


@dataclass(frozen=True)
class ScoringMode:
    """One way to score: its ``name`` in results, and how the two sides are made comparable.

    ``unanimous`` is used instead of ``forms`` where all answers are the same string in the form
    that ``unanimous`` gives them; it is ``None`` where that makes no difference. With
    ``stems_words`` the words of both sides are stemmed at the end.
    """

    name: str
    forms: Forms
    unanimous: Forms | None = None
    stems_words: bool = False

    def rewrite(self, prediction: str, answers: Sequence[str]) -> tuple[str, list[str]]:
        """Return the prediction and the answers in the forms in which they are compared."""
        forms = self._forms_for(answers)
        wanted, given = forms.prediction(prediction), [forms.answers(text) for text in answers]
        if self.stems_words:
            return stem(wanted), [stem(text) for text in given]
        return wanted, given

    def _forms_for(self, answers: Sequence[str]) -> Forms:
        if self.unanimous is not None and len({*map(self.unanimous.answers, answers)}) == 1:
            return self.unanimous
        return self.forms


# The script of the VQA challenge, as it is since 2021 and as it was in 2016.
OFFICIAL = ScoringMode(
    name="official",
    forms=Forms(normalise_officially, normalise_officially),
    unanimous=Forms(tidy, tidy),
)
OFFICIAL_2016 = ScoringMode(
    name="official-2016",
    forms=Forms(normalise_officially, drop_punctuation),
    unanimous=Forms(normalise_officially, as_written),
)
# lmms-eval's scorers, which normalise always.
LMMS_VQAV2 = ScoringMode(name="lmms-vqav2", forms=Forms(normalise, normalise))
LMMS_OKVQA = ScoringMode(name="lmms-okvqa", forms=Forms(normalise_like_mmf, normalise_like_mmf))

PLAIN_MODES = (OFFICIAL, OFFICIAL_2016, LMMS_VQAV2, LMMS_OKVQA)


def with_stemmed_predictions(mode: ScoringMode) -> ScoringMode:
    """Make the variant of a mode that compares stems, so that ``racing`` equals ``race``.

    The answers are stemmed as well, although OK-VQA's are stemmed already: no public stemmer gives
    the words of that set, and a stem can be compared with stems alone.
    """
    return replace(mode, name=mode.name + STEMMED_PREDICTIONS, stems_words=True)


SCORING_MODES = {
    mode.name: mode for mode in (*PLAIN_MODES, *map(with_stemmed_predictions, PLAIN_MODES))
}


def scoring_mode(name: str) -> ScoringMode:
    """Return the mode of that name; ``InvalidArgumentError`` lists the names there are."""
    if name not in SCORING_MODES:
        message = f"There is no scoring mode {name!r}. Use one of: {', '.join(SCORING_MODES)}."
        raise InvalidArgumentError(message)
    return SCORING_MODES[name]


def vqa_accuracy(prediction: str, answers: Sequence[str], mode: ScoringMode = LMMS_VQAV2) -> float:
    """Score a prediction against the answers of several people, from 0 to 1.

    Each answer is left out in turn; the prediction then scores a third for each of the others
    that equals it, at most 1, and the mean of these is returned. Of ten answers 0, 1, 2, 3 and
    4 or more matches give 0, 0.3, 0.6, 0.9 and 1. Raises ``DataError`` without answers.
    """
    if not answers:
        message = "VQA accuracy needs at least one answer to compare with, and there is none."
        raise DataError(message)
    wanted, given = mode.rewrite(prediction, answers)
    n_matches = given.count(wanted)
    n_others = len(given) - n_matches
    total = n_matches * _share(n_matches - 1) + n_others * _share(n_matches)
    return total / len(given)


def _share(n_matches: int) -> float:
    return min(n_matches / MATCHES_FOR_FULL_SCORE, 1.0)
