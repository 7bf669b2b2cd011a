"""VQA accuracy: the recorded cases of another scorer, its rules, and its laws."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.vqa_score import (
    CONTRACTIONS,
    LMMS_VQAV2,
    ScoringMode,
    normalise,
    scoring_mode,
    vqa_accuracy,
)

if TYPE_CHECKING:
    from pathlib import Path

words = st.sampled_from(
    ["red", "Red.", "the red", "blue", "2", "two", "dont", "don't", "", "1,000"]
)
texts = st.one_of(words, st.text(alphabet=string.printable + "é٤", max_size=20))
# A busy machine is no fault of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
answer_lists = st.lists(texts, min_size=1, max_size=12)


def test_all_recorded_cases_of_lmms_eval_get_the_same_score(vqa_data: Path) -> None:
    lines = (vqa_data / "scorer_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    wrong = [
        case["id"]
        for case in cases
        if abs(100 * vqa_accuracy(case["prediction"], case["answers"]) - case["lmms_vqav2"]) > 1e-9
    ]
    assert len(cases) == 6000
    assert wrong == []


@pytest.mark.parametrize(
    ("n_matches", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_k_of_ten_matches(n_matches: int, score: float) -> None:
    answers = ["dog"] * n_matches + [f"cat {i}" for i in range(10 - n_matches)]
    assert vqa_accuracy("dog", answers) == pytest.approx(score, abs=1e-12)


def test_equal_answers_are_left_out_one_at_a_time() -> None:
    assert vqa_accuracy("yes", ["yes"] * 10) == 1.0


def test_unanimous_answers_are_normalised_too() -> None:
    assert vqa_accuracy("Yes.", ["yes"] * 10) == 1.0


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


def test_a_contraction_gets_its_apostrophe_back() -> None:
    contractions = CONTRACTIONS.split()
    assert len(contractions) == len(set(contractions)) == 92
    for contraction in contractions:
        for place, character in enumerate(contraction):
            if character == "'":
                assert normalise(contraction[:place] + contraction[place + 1 :]) == contraction


@unhurried
@given(texts, answer_lists)
def test_scores_lie_between_0_and_1(prediction: str, answers: list[str]) -> None:
    assert 0.0 <= vqa_accuracy(prediction, answers) <= 1.0


@unhurried
@given(texts, answer_lists, st.randoms())
def test_the_order_of_answers_does_not_matter(
    prediction: str,
    answers: list[str],
    random: object,
) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert vqa_accuracy(prediction, shuffled) == vqa_accuracy(prediction, answers)


@unhurried
@given(texts, answer_lists)
def test_answers_are_not_changed(prediction: str, answers: list[str]) -> None:
    before = list(answers)
    vqa_accuracy(prediction, answers)
    assert answers == before


@unhurried
@given(texts, answer_lists)
def test_the_score_is_the_mean_over_answers_left_out(prediction: str, answers: list[str]) -> None:
    matches = [normalise(answer) == normalise(prediction) for answer in answers]
    rounds = [
        min(1.0, sum(matches[:left_out] + matches[left_out + 1 :]) / 3)
        for left_out in range(len(matches))
    ]
    assert vqa_accuracy(prediction, answers) == pytest.approx(mean(rounds), abs=1e-12)


def test_a_mode_is_a_value() -> None:
    as_written = ScoringMode(name="as-written", normalise=str)
    assert vqa_accuracy("Red", ["red"] * 10, as_written) == 0.0
    assert vqa_accuracy("Red", ["red"] * 10, LMMS_VQAV2) == 1.0


def test_no_answers_are_an_error_and_no_score() -> None:
    with pytest.raises(DataError, match="at least one answer"):
        vqa_accuracy("red", [])


def test_modes_are_found_by_name() -> None:
    assert scoring_mode("lmms-vqav2") is LMMS_VQAV2
    with pytest.raises(InvalidArgumentError, match=r"'vqa'.*lmms-vqav2"):
        scoring_mode("vqa")


def test_scoring_needs_no_heavy_import() -> None:
    code = (
        "import sys, moe_eval_plugin.vqa_score, moe_eval_plugin.official; "
        "print(sorted({'torch', 'transformers', 'datasets', 'PIL', 'lmms_eval'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
