from __future__ import annotations

import hashlib
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from moe_eval_plugin.vqa.normalise import (
    CONTRACTIONS,
    OFFICIAL_RULES,
    drop_punctuation,
    normalise,
    normalise_like_mmf,
    normalise_officially,
)
from tests.vqa.answer_texts import MEGABYTE, literal_form, literal_form_of_mmf, texts, unhurried

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("  A Dog \n", "dog"),
        ("Two\tdogs", "2 dogs"),
        ("none", "0"),
        ("the", ""),
        ("10,000", "10000"),
        ("red, blue", "red blue"),
        ("red,blue", "red blue"),
        ("half-pipe", "half pipe"),
        ("half- pipe-line", "half pipeline"),
        ("1.5 m.", "1.5 m"),
        ("a.m.", "am"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("Im", "im"),
        ("café", "café"),
        ("." * 40, "." * 8),
        ("$5", "$5"),
    ],
)
def test_normal_form(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


@pytest.mark.parametrize(
    ("answer", "official", "vqav2", "okvqa"),
    [
        ("1,000", "1000", "1000", "1000"),
        ("1,,000", "1 000", "1000", "1000"),
        ("٤,٤-٤", "٤ ٤ ٤", "٤٤٤", "٤٤ ٤"),
        ("red,blue", "red blue", "red blue", "redblue"),
        ("red?blue", "red blue", "red blue", "redblue"),
        ("Dog's", "dog's", "dog's", "dog 's"),
        ("that's", "that's", "that's", "that 's"),
    ],
)
def test_where_normal_forms_differ(answer: str, official: str, vqav2: str, okvqa: str) -> None:
    assert normalise_officially(answer) == official
    assert normalise(answer) == vqav2
    assert normalise_like_mmf(answer) == okvqa


# What the official script made of these, run unchanged by Python 2.7.18: digits in its patterns are
# those of ASCII, small letters and white space those of Unicode 5.2, one character after the other.
UNDER_PYTHON_2 = (
    ("\u0664,\u0664", "\u0664 \u0664"),
    ("\u0664,\u0664-\u0664", "\u0664 \u0664 \u0664"),
    ("1,\u0664", "1 \u0664"),
    ("1,2-3", "123"),
    ("\uff11,\uff10\uff10\uff10", "\uff11 \uff10\uff10\uff10"),
    ("1.\u0664", "1\u0664"),
    ("\u0664.5", "\u0664.5"),
    ("\u0664.\u0664", "\u0664\u0664"),
    ("\xb2.5", "\xb2.5"),
    ("3.\xb2", "3\xb2"),
    ("\u2163.", "\u2173"),
    ("1\u066b5", "1\u066b5"),
    ("\u0130stanbul", "istanbul"),
    ("I\u0307", "i\u0307"),
    ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c3"),
    ("STRA\u1e9eE", "stra\xdfe"),
    ("stra\xdfe", "stra\xdfe"),
    ("\u212a", "k"),
    ("\u01c5", "\u01c6"),
    ("\ufb01n", "\ufb01n"),
    ("\uff34\uff37\uff2f", "\uff54\uff57\uff4f"),
    ("\u1c90", "\u1c90"),
    ("\u13a0", "\u13a0"),
    ("\U00010400", "\U00010428"),
    ("\U0001e900", "\U0001e900"),
    ("CAF\xc9", "caf\xe9"),
    ("E\u0301", "e\u0301"),
    ("the\xa0dog", "dog"),
    ("\xa0dog\xa0", "dog"),
    ("the\u180edog", "dog"),
    ("\u180edog\u180e", "dog"),
    ("the\u3000dog", "dog"),
    ("\x1ctwo\x1f", "2"),
    ("the\x85dog", "dog"),
    ("\ufeffdog", "\ufeffdog"),
    ("two\u200bdogs", "two\u200bdogs"),
    ("don\u2019t", "don\u2019t"),
    ("yes\uff0cno", "yes\uff0cno"),
    ("red\u3002", "red\u3002"),
    ("red,\xa0blue", "red blue"),
    ("red,\u180eblue", "red blue"),
    ("\U0001f600!", "\U0001f600"),
)


@pytest.mark.parametrize(("answer", "expected"), UNDER_PYTHON_2, ids=ascii)
def test_the_official_form_is_that_of_the_script_under_python_2(answer: str, expected: str) -> None:
    assert normalise_officially(answer) == expected


def test_every_character_has_the_small_letter_that_python_2_has() -> None:
    small = "".join(OFFICIAL_RULES.lower(chr(code)) for code in range(sys.maxunicode + 1))
    # Digest of unichr(code).lower() of all characters in Python 2.7.18.
    assert hashlib.sha256(small.encode("utf-8", "surrogatepass")).hexdigest() == (
        "736aa1c37f240252c344c60973543d0d4c6736aa0e790559ba20c3cc3785edec"
    )


def test_the_answers_of_2016_lose_their_punctuation_alone() -> None:
    assert drop_punctuation("\tThe (two) dogs.\n") == "\tThe two dogs\n"


def test_a_contraction_gets_its_apostrophe_back() -> None:
    contractions = CONTRACTIONS.split()
    assert len(contractions) == len(set(contractions)) == 92
    for contraction in contractions:
        for place, character in enumerate(contraction):
            if character == "'":
                assert normalise(contraction[:place] + contraction[place + 1 :]) == contraction


@unhurried
@given(texts)
def test_normal_forms_are_those_of_a_literal_statement(answer: str) -> None:
    assert normalise_officially(answer) == literal_form(answer)
    assert normalise(answer) == literal_form(answer, several_commas=True)
    assert normalise_like_mmf(answer) == literal_form_of_mmf(answer)
    assert drop_punctuation(answer) == literal_form(answer, punctuation_only=True)


@pytest.mark.parametrize(
    "form", [normalise, normalise_officially, normalise_like_mmf, drop_punctuation]
)
def test_long_strings_are_not_kept(form: Callable[[str], str]) -> None:
    form("warm")
    tracemalloc.start()
    try:
        for number in range(20):
            form(f"{number} " + "x" * MEGABYTE)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < MEGABYTE
