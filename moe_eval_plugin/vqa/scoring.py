"""Score a short answer against the answers that people gave, by VQA accuracy.

The rules are those of the VQA challenge (https://visualqa.org/evaluation.html), with the tables
and oddities that its script has had since 2016, because published scores contain them; comments
name them where they occur. Scorers differ in details, so each is a ``ScoringMode``, whose name is
in the results. Scores are from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.text import did_you_mean
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
    """Normalisers of the prediction and of the answers before they are compared."""

    prediction: Normaliser
    answers: Normaliser


@dataclass(frozen=True)
class ScoringMode:
    """One way to make a prediction and the answers comparable."""

    name: str
    """Name in results and task files."""
    forms: Forms
    """Normalisers of both."""
    unanimous: Forms | None = None
    """Used instead of ``forms`` if all answers are equal after its own normaliser."""
    stems_words: bool = False
    """Whether the words of both are stemmed in the end."""

    def rewrite(self, prediction: str, answers: Sequence[str]) -> tuple[str, list[str]]:
        """Return the normalised prediction and answers."""
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
# lmms-eval's scorers, which normalise unanimous answers too.
LMMS_VQAV2 = ScoringMode(name="lmms-vqav2", forms=Forms(normalise, normalise))
LMMS_OKVQA = ScoringMode(name="lmms-okvqa", forms=Forms(normalise_like_mmf, normalise_like_mmf))

PLAIN_MODES = (OFFICIAL, OFFICIAL_2016, LMMS_VQAV2, LMMS_OKVQA)


def with_stemmed_predictions(mode: ScoringMode) -> ScoringMode:
    """Return the variant of a mode that compares stems, so that ``racing`` equals ``race``.

    The answers are stemmed too, although OK-VQA's are stemmed already: no public stemmer produces
    the words of that set, and a stem can only be compared with stems.
    """
    return replace(mode, name=mode.name + STEMMED_PREDICTIONS, stems_words=True)


SCORING_MODES = {
    mode.name: mode for mode in (*PLAIN_MODES, *map(with_stemmed_predictions, PLAIN_MODES))
}


def scoring_mode(name: str) -> ScoringMode:
    """Return the mode of that name; ``InvalidArgumentError`` lists the known names."""
    if name not in SCORING_MODES:
        message = (
            f"There is no scoring mode {name!r}.{did_you_mean(name, SCORING_MODES)} "
            f"Use one of: {', '.join(SCORING_MODES)}."
        )
        raise InvalidArgumentError(message)
    return SCORING_MODES[name]


def vqa_accuracy(prediction: str, answers: Sequence[str], mode: ScoringMode = LMMS_VQAV2) -> float:
    """Return the score of a prediction against the answers of several people, from 0 to 1.

    Each answer is left out in turn; the prediction then scores a third for each of the others that
    equals it, at most 1, and the mean of these is returned. Of ten answers 0, 1, 2, 3 and 4 or
    more matches give 0, 0.3, 0.6, 0.9 and 1. Raises ``DataError`` without answers.
    """
    if not answers:
        message = "VQA accuracy needs at least one answer to compare with, but there is none."
        raise DataError(message)
    wanted, given = mode.rewrite(prediction, answers)
    n_matches = given.count(wanted)
    n_others = len(given) - n_matches
    total = n_matches * _share(n_matches - 1) + n_others * _share(n_matches)
    return total / len(given)


def _share(n_matches: int) -> float:
    return min(n_matches / MATCHES_FOR_FULL_SCORE, 1.0)
