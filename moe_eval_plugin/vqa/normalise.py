"""Normalise answers as four public VQA scorers do."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps

CACHED_STRINGS = 200_000
MAX_CACHED_CHARACTERS = 64
PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
COMMA_IN_NUMBER = re.compile(r"\d,\d")
# MMF and lmms-eval treat several commas like one; "1,,000" becomes "1 000" or "1000".
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
Normaliser = Callable[[str], str]


def _with_one_apostrophe_missing(word: str) -> list[str]:
    positions = [position for position, character in enumerate(word) if character == "'"]
    return [word[:position] + word[position + 1 :] for position in positions]


# A contraction is corrected only where exactly one of its apostrophes is missing. One entry of the
# published table removes an apostrophe instead.
CORRECTED_CONTRACTIONS = {
    misspelt: word
    for word in CONTRACTIONS.split()
    for misspelt in _with_one_apostrophe_missing(word)
} | {"somebody'd": "somebodyd"}


def _cached(normaliser: Normaliser) -> Normaliser:
    """Cache the forms of short strings, most of which occur many times in a data set.

    Long ones are computed each time: a broken model may write a megabyte for each question, and
    caching these would fill the memory.
    """
    cached = lru_cache(maxsize=CACHED_STRINGS)(normaliser)

    @wraps(normaliser)
    def form(answer: str) -> str:
        return cached(answer) if len(answer) <= MAX_CACHED_CHARACTERS else normaliser(answer)

    return form


def as_written(answer: str) -> str:
    """Return an answer unchanged."""
    return answer


def tidy(answer: str) -> str:
    """Return an answer with newlines and tabs as spaces, stripped at both ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@_cached
def drop_punctuation(answer: str) -> str:
    """Return an answer without punctuation, as the official script removes it."""
    return _drop_punctuation(answer, COMMA_IN_NUMBER)


@_cached
def normalise_officially(answer: str) -> str:
    """Return the form in which the official script compares answers that are not unanimous.

    Newlines and tabs become spaces, punctuation is removed, letters become lower case, number words
    up to ten become digits, articles are removed, and contractions get their apostrophe back.
    Nothing is stemmed, and Unicode is not changed.
    """
    return _normalise(answer, COMMA_IN_NUMBER)


@_cached
def normalise(answer: str) -> str:
    """Return the form in which lmms-eval's ``vqav2`` compares answers.

    It is the official one, except for numbers with several commas in a row.
    """
    return _normalise(answer, COMMAS_IN_NUMBER)


@_cached
def normalise_like_mmf(answer: str) -> str:
    """Return the form in which MMF and lmms-eval's ``ok_vqa`` compare answers.

    Commas and question marks are deleted and ``'s`` becomes a separate word; the rest is done as in
    ``normalise``.
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return _normalise(text, COMMAS_IN_NUMBER)


def _drop_punctuation(text: str, commas: re.Pattern[str]) -> str:
    """Return a text with each punctuation mark removed or replaced by a space.

    A mark is removed if one of its kind is next to a space anywhere in the text; all are removed
    if ``commas`` are found between digits. Periods are removed unless a digit follows, but at most
    32 of them.
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
    return " ".join(
        CORRECTED_CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES
    )
