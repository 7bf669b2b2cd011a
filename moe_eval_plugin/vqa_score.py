"""VQA accuracy: how far a short answer agrees with the answers that people gave.

The rules are those of the VQA challenge (https://visualqa.org/evaluation.html), with the tables
and the oddities that its script has had since 2016, because published figures contain them. They
are kept on purpose and named where they occur. Scorers differ in details, so each is a
``ScoringMode``, whose name stands in the results. Scores run from 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.stemming import stem

if TYPE_CHECKING:
    from collections.abc import Sequence

MATCHES_FOR_FULL_SCORE = 3
CACHED_STRINGS = 200_000
MAX_CACHED_CHARACTERS = 64
STEMMED_PREDICTIONS = "+stemmed-predictions"

PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
COMMA_IN_NUMBER = re.compile(r"\d,\d")
# MMF and lmms-eval take any number of commas for one; "1,,000" becomes "1 000" or "1000".
COMMAS_IN_NUMBER = re.compile(r"\d,+\d")
PERIOD = re.compile(r"\.(?!\d)")
MAX_PERIODS_REMOVED = 32

ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}

CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've
    you'll you're you've
"""


def _with_one_apostrophe_missing(word: str) -> list[str]:
    places = [place for place, character in enumerate(word) if character == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


# A contraction is mended where one of its apostrophes is missing, and only then. One entry of the
# published table goes the other way.
MENDED_CONTRACTIONS = {
    misspelt: word
    for word in CONTRACTIONS.split()
    for misspelt in _with_one_apostrophe_missing(word)
} | {"somebody'd": "somebodyd"}


Normaliser = Callable[[str], str]


def _remembered(normaliser: Normaliser) -> Normaliser:
    """Remember the forms of short strings: in a data set most of them occur many times.

    Long ones are worked out each time. A broken model may write a megabyte for each question, and
    to keep these would fill the memory.
    """
    remembered = lru_cache(maxsize=CACHED_STRINGS)(normaliser)

    @wraps(normaliser)
    def form(answer: str) -> str:
        return remembered(answer) if len(answer) <= MAX_CACHED_CHARACTERS else normaliser(answer)

    return form


def as_written(answer: str) -> str:
    """Return an answer as it is."""
    return answer


def tidy(answer: str) -> str:
    """Turn newlines and tabs into spaces, and remove white space at both ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@_remembered
def drop_punctuation(answer: str) -> str:
    """Remove the punctuation of an answer as the official script does, and nothing else."""
    return _drop_punctuation(answer, COMMA_IN_NUMBER)


@_remembered
def normalise_officially(answer: str) -> str:
    """Bring an answer into the form in which the official script compares answers that differ.

    Newlines and tabs become spaces, punctuation goes, letters become small, number words up to
    ten become digits, articles go, and contractions get their apostrophe back. Nothing is stemmed
    and Unicode is left as it is.
    """
    return _normalise(answer, COMMA_IN_NUMBER)


@_remembered
def normalise(answer: str) -> str:
    """Bring an answer into the form in which lmms-eval's ``vqav2`` compares answers.

    It is the official one, but for numbers with several commas in one place.
    """
    return _normalise(answer, COMMAS_IN_NUMBER)


@_remembered
def normalise_like_mmf(answer: str) -> str:
    """Bring an answer into the form in which MMF and lmms-eval's ``ok_vqa`` compare answers.

    Commas and question marks go without a trace, and ``'s`` becomes a word of its own, before all
    else is done as in ``normalise``.
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return _normalise(text, COMMAS_IN_NUMBER)


def _drop_punctuation(text: str, commas: re.Pattern[str]) -> str:
    """Remove each mark of punctuation, or put a space in its place.

    A mark is removed where one of its kind stands next to a space anywhere in the text, and all
    are removed where ``commas`` are found between digits. A period goes unless a digit follows it,
    but no more than 32 of them.
    """
    number_with_comma = commas.search(text) is not None
    cleaned = text
    for mark in PUNCTUATION.intersection(text):
        removed = number_with_comma or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if removed else " ")
    return PERIOD.sub("", cleaned, count=MAX_PERIODS_REMOVED)


def _normalise(answer: str, commas: re.Pattern[str]) -> str:
    text = _drop_punctuation(tidy(answer), commas).lower()
    words = (NUMBER_WORDS.get(word, word) for word in text.split())
    return " ".join(MENDED_CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


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
