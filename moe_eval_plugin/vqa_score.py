"""VQA accuracy: how far a short answer agrees with the answers that people gave.

The rules are those of the VQA challenge (https://visualqa.org/evaluation.html), with the tables
and the oddities that its script has had since 2016, because published figures contain them. They
are kept on purpose and named where they occur. Scores run from 0 to 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MATCHES_FOR_FULL_SCORE = 3
CACHED_STRINGS = 200_000

PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
COMMA_IN_NUMBER = re.compile(r"\d,+\d")
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


@lru_cache(maxsize=CACHED_STRINGS)
def normalise(answer: str) -> str:
    """Bring an answer into the form in which answers are compared.

    Newlines and tabs become spaces, punctuation goes, letters become small, number words up to
    ten become digits, articles go, and contractions get their apostrophe back. Nothing is stemmed
    and Unicode is left as it is.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    words = (NUMBER_WORDS.get(word, word) for word in _drop_punctuation(text).lower().split())
    return " ".join(MENDED_CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _drop_punctuation(text: str) -> str:
    """Remove each mark of punctuation, or put a space in its place.

    A mark is removed where one of its kind stands next to a space anywhere in the text, and all
    are removed where a comma stands between digits. A period goes unless a digit follows it, but
    no more than 32 of them.
    """
    number_with_comma = COMMA_IN_NUMBER.search(text) is not None
    cleaned = text
    for mark in PUNCTUATION.intersection(text):
        removed = number_with_comma or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if removed else " ")
    return PERIOD.sub("", cleaned, count=MAX_PERIODS_REMOVED)


@dataclass(frozen=True)
class ScoringMode:
    """One way to score: its ``name`` in results, and how the two sides are made comparable.

    ``normalise`` is applied to the prediction and to each of the answers.
    """

    name: str
    normalise: Callable[[str], str]


# Always normalises. The official script does so only where the answers differ among themselves.
LMMS_VQAV2 = ScoringMode(name="lmms-vqav2", normalise=normalise)

SCORING_MODES = {mode.name: mode for mode in (LMMS_VQAV2,)}


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
    wanted = mode.normalise(prediction)
    n_matches = sum(mode.normalise(answer) == wanted for answer in answers)
    n_others = len(answers) - n_matches
    total = n_matches * _share(n_matches - 1) + n_others * _share(n_matches)
    return total / len(answers)


def _share(n_matches: int) -> float:
    return min(n_matches / MATCHES_FOR_FULL_SCORE, 1.0)
