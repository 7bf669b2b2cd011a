"""Stems of words, and the detection of stemmed and raw answers."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.vqa.official_data import read_annotations
from moe_eval_plugin.vqa.stemming import (
    MAX_STEMMED_CHARACTERS,
    RAW,
    STEMMED,
    UNKNOWN,
    detect_answer_set,
    stem,
)

if TYPE_CHECKING:
    from pathlib import Path

AnswerLists = list[list[str]]


@pytest.fixture(scope="module")
def answer_sets(vqa_data: Path) -> dict[str, AnswerLists]:
    annotations = read_annotations("okvqa", vqa_data) or {}
    raw = json.loads((vqa_data / "okvqa" / "raw_answers.json").read_text(encoding="utf-8"))
    return {
        STEMMED: [annotation.answers for annotation in annotations.values()],
        RAW: [entry["answers"] for entry in raw],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("racing", "race"),
        ("horse racing", "hors race"),
        ("pony", "poni"),
        ("ponies", "poni"),
        ("vegetables", "veget"),
        ("  two \t words\n", "two word"),
        ("", ""),
        ("'s", "'s"),
        ("café", "café"),
        ("שלום עולם", "שלום עולם"),
        ("\x00", "\x00"),
    ],
)
def test_each_word_is_stemmed(text: str, expected: str) -> None:
    assert stem(text) == expected


@given(st.lists(st.sampled_from(["racing", "ponies", "dogs", "of", "5", "don't"]), max_size=8))
def test_a_word_has_the_same_stem_wherever_it_stands(words: list[str]) -> None:
    assert stem(" ".join(words)).split() == [stem(word) for word in words]


def test_a_megabyte_is_returned_at_once_and_as_it_is() -> None:
    text = " ".join(f"racing{number}s" for number in range(100_000))
    began_s = time.process_time()
    assert stem(text) == text
    assert time.process_time() - began_s < 0.1


def test_the_longest_text_that_is_stemmed() -> None:
    words = MAX_STEMMED_CHARACTERS // len("dogs ") * ["dogs"]
    longest = " ".join([*words, "dogs"])[:MAX_STEMMED_CHARACTERS]
    assert len(longest) == MAX_STEMMED_CHARACTERS
    assert stem(longest).startswith("dog dog ")
    assert stem(longest + "s") == longest + "s"


def test_both_sets_are_told_apart(answer_sets: dict[str, AnswerLists]) -> None:
    assert set(answer_sets) == {STEMMED, RAW}
    assert {name: detect_answer_set(answers) for name, answers in answer_sets.items()} == {
        STEMMED: STEMMED,
        RAW: RAW,
    }


@pytest.mark.parametrize("name", [STEMMED, RAW])
def test_samples_of_200_questions_are_told_apart(
    name: str, answer_sets: dict[str, AnswerLists]
) -> None:
    chance = random.Random(0)  # noqa: S311 - draws questions, not secrets
    found = {detect_answer_set(chance.sample(answer_sets[name], 200)) for _ in range(100)}
    assert found == {name}


@pytest.mark.parametrize("name", [STEMMED, RAW])
def test_a_few_questions_tell_nothing(name: str, answer_sets: dict[str, AnswerLists]) -> None:
    assert detect_answer_set(answer_sets[name][:20]) == UNKNOWN


def test_capitals_change_nothing(answer_sets: dict[str, AnswerLists]) -> None:
    for name, answers in answer_sets.items():
        capitals = [[text.upper() for text in texts] for texts in answers[:200]]
        assert detect_answer_set(capitals) == name


def test_the_answers_to_vqa_v2_are_raw(vqa_data: Path) -> None:
    annotations = read_annotations("vqa_v2_val", vqa_data) or {}
    assert detect_answer_set(annotation.answers for annotation in annotations.values()) == RAW


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [[]] * 300,
        [["yes"] * 10, ["no"] * 10] * 5_000,
        [["circle", "blue", "rectangle", "teal"]] * 10_000,
        [[str(number)] for number in range(1_000)],
        [[first + second + "o"] for first in string.ascii_letters for second in "abcdefghijkl"],
        [["日本語の答え" + "字" * number] for number in range(500)],
    ],
    ids=["nothing", "none", "yes and no", "few words", "numbers", "short words", "other script"],
)
def test_too_little_to_tell_is_unknown(answers: AnswerLists) -> None:
    assert detect_answer_set(answers) == UNKNOWN


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("o", STEMMED), ("ss", STEMMED), ("us", STEMMED), ("is", STEMMED), ("os", RAW), ("ing", RAW)],
)
def test_endings_that_people_write_and_stems_lack(ending: str, expected: str) -> None:
    letters = "bcdfghjklmnpqrtvwxz"
    words = [first + middle + "a" + ending for first in letters for middle in letters]
    assert detect_answer_set([[f"big {word}"] for word in words]) == expected


def test_a_mixture_of_both_sets_is_unknown() -> None:
    words = [f"{first}{second}" for first in "bcdfghjklm" for second in "bcdfghjklmnpqrtvwxz"]
    plain = [f"wo{word}" for word in words] + [f"wa{word}" for word in words]
    inflected = [f"{word}ing" for word in plain]
    for n_inflected, expected in ((0, STEMMED), (40, UNKNOWN), (100, RAW)):
        assert detect_answer_set([[*plain[n_inflected:], *inflected[:n_inflected]]]) == expected


def test_stemming_needs_no_heavy_import() -> None:
    code = (
        "import sys; from moe_eval_plugin.vqa.stemming import stem; stem('racing'); "
        "print(sorted({'torch', 'transformers', 'nltk'} & {*sys.modules}))"
    )
    assert run(code) == "[]"


def test_stems_do_not_depend_on_another_stemmer_that_is_installed(tmp_path: Path) -> None:
    shout = "class Stemmer:\n    stemWord = staticmethod(str.upper)\n    __init__ = print\n"
    (tmp_path / "Stemmer.py").write_text(f"{shout}\ndef algorithms(): return ['english']\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import Stemmer\n"
        "from moe_eval_plugin.vqa.stemming import stem; print(stem('racing'))"
    )
    assert run(code) == "race"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
