from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from moe_eval_plugin.vqa.normalise import (
    CONTRACTIONS,
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
        ("٤,٤-٤", "٤٤٤", "٤٤٤", "٤٤ ٤"),
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
