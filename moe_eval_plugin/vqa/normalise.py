"""Normalise answers as four public VQA scorers do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps

CACHED_STRINGS = 200_000
MAX_CACHED_CHARACTERS = 64
PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
MAX_PERIODS_REMOVED = 32
# White space of Unicode strings in Python 2.7; Python 3 no longer has U+180E.
WHITE_SPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
# Letters that have a small form in Unicode 14 and later, and none in Unicode 5.2, that of
# Python 2.7.
NEWER_CAPITALS = re.compile(
    "[\u037f\u0526-\u052e\u10c7\u10cd\u13a0-\u13f5\u1c90-\u1cba\u1cbd-\u1cbf\u2c2f\u2cf2\ua660\ua698-"
    "\ua69a\ua78d\ua790-\ua792\ua796-\ua7dc\ua7f5\U000104b0-\U000104d3\U00010570-\U00010595"
    "\U00010c80-\U00010cb2\U00010d50-\U00010d65\U000118a0-\U000118bf\U00016e40-\U00016e5f"
    "\U0001e900-\U0001e921]"
)
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


def _lower_as_in_python_2(text: str) -> str:
    """Return a text in small letters, each letter by itself and by Unicode 5.2."""
    if text.isascii():
        return text.lower()
    return "".join(
        letter if NEWER_CAPITALS.match(letter) else letter.lower()
        for letter in text.replace("\u0130", "i")
    )


@dataclass(frozen=True)
class _Rules:
    """What depends on the Python that runs a scorer, and on how it reads commas."""

    commas: re.Pattern[str]
    """Commas between digits."""
    period: re.Pattern[str]
    """A period that no digit follows."""
    lower: Normaliser
    """Returns a text in small letters."""
    white_space: str | None
    """Characters that end a word; ``None`` for those of this Python."""

    def tidy(self, text: str) -> str:
        """Return a text with newlines and tabs as spaces, stripped at both ends."""
        return text.replace("\n", " ").replace("\t", " ").strip(self.white_space)

    def split(self, text: str) -> list[str]:
        """Return the words of a text."""
        if self.white_space is None:
            return text.split()
        # Python 3 has all characters of the set but one.
        return text.replace("\u180e", " ").split()


# The organisers run the official script under Python 2.7, where digits in patterns are those of
# ASCII.
OFFICIAL_RULES = _Rules(
    commas=re.compile(r"[0-9],[0-9]"),
    period=re.compile(r"\.(?![0-9])"),
    lower=_lower_as_in_python_2,
    white_space=WHITE_SPACE,
)
# MMF and lmms-eval run under Python 3, and treat several commas like one; "1,,000" becomes "1 000"
# or "1000".
LMMS_RULES = _Rules(
    commas=re.compile(r"\d,+\d"), period=re.compile(r"\.(?!\d)"), lower=str.lower, white_space=None
)


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
    """Return an answer as the official script tidies it: one line, stripped at both ends."""
    return OFFICIAL_RULES.tidy(answer)


@_cached
def drop_punctuation(answer: str) -> str:
    """Return an answer without punctuation, as the official script removes it."""
    return _drop_punctuation(answer, OFFICIAL_RULES)


@_cached
def normalise_officially(answer: str) -> str:
    """Return the form in which the official script compares answers that are not unanimous.

    Newlines and tabs become spaces, punctuation is removed, letters become lower case, number words
    up to ten become digits, articles are removed, and contractions get their apostrophe back.
    Nothing is stemmed, and Unicode is not changed. Digits, capitals and white space are those of
    Python 2.7, which the organisers run.
    """
    return _normalise(answer, OFFICIAL_RULES)


@_cached
def normalise(answer: str) -> str:
    """Return the form in which lmms-eval's ``vqav2`` compares answers.

    It is the official one, except for numbers with several commas in a row, and for digits,
    capitals and white space outside ASCII, which are those of Python 3.
    """
    return _normalise(answer, LMMS_RULES)


@_cached
def normalise_like_mmf(answer: str) -> str:
    """Return the form in which MMF and lmms-eval's ``ok_vqa`` compare answers.

    Commas and question marks are deleted and ``'s`` becomes a separate word; the rest is done as in
    ``normalise``.
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return _normalise(text, LMMS_RULES)


def _drop_punctuation(text: str, rules: _Rules) -> str:
    """Return a text with each punctuation mark removed or replaced by a space.

    A mark is removed if one of its kind is next to a space anywhere in the text; all are removed
    if a comma is found between digits. Periods are removed unless a digit follows, but at most
    32 of them.
    """
    number_with_comma = rules.commas.search(text) is not None
    cleaned = text
    for mark in PUNCTUATION.intersection(text):
        removed = number_with_comma or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if removed else " ")
    return rules.period.sub("", cleaned, count=MAX_PERIODS_REMOVED)


def _normalise(answer: str, rules: _Rules) -> str:
    text = rules.lower(_drop_punctuation(rules.tidy(answer), rules))
    words = (NUMBER_WORDS.get(word, word) for word in rules.split(text))
    return " ".join(
        CORRECTED_CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES
    )
