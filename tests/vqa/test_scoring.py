"""VQA accuracy: the recorded cases of four scorers, their rules, and their laws."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.vqa.normalise import (
    as_written,
    tidy,
)
from moe_eval_plugin.vqa.scoring import (
    LMMS_OKVQA,
    LMMS_VQAV2,
    OFFICIAL,
    OFFICIAL_2016,
    SCORING_MODES,
    Forms,
    ScoringMode,
    scoring_mode,
    vqa_accuracy,
    with_stemmed_predictions,
)
from moe_eval_plugin.vqa.stemming import stem
from tests.vqa.answer_texts import (
    MEGABYTE,
    literal_form,
    literal_form_of_mmf,
    texts,
    unhurried,
    words,
)

if TYPE_CHECKING:
    import random
    from pathlib import Path


# Each mode, and the field that holds its scores in the recorded cases.
RECORDED = (
    (OFFICIAL, "official_2021"),
    (OFFICIAL_2016, "official_2016"),
    (LMMS_VQAV2, "lmms_vqav2"),
    (LMMS_OKVQA, "lmms_okvqa"),
)


PLAIN_MODES = [mode for mode, _ in RECORDED]


VARIANTS = [with_stemmed_predictions(mode) for mode in PLAIN_MODES]


ALL_MODES = [*PLAIN_MODES, *VARIANTS]


answer_lists = st.lists(texts, min_size=1, max_size=12)


modes = st.sampled_from(ALL_MODES)


each_mode = pytest.mark.parametrize("mode", ALL_MODES, ids=lambda mode: mode.name)


each_plain_mode = pytest.mark.parametrize("mode", PLAIN_MODES, ids=lambda mode: mode.name)


@pytest.mark.parametrize(("mode", "field"), RECORDED, ids=lambda value: getattr(value, "name", ""))
def test_all_recorded_cases_get_the_recorded_score(
    vqa_data: Path, mode: ScoringMode, field: str
) -> None:
    lines = (vqa_data / "scorer_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    wrong = [
        case["id"]
        for case in cases
        if abs(100 * vqa_accuracy(case["prediction"], case["answers"], mode) - case[field]) > 1e-9
    ]
    assert len(cases) == 6000
    assert wrong == []


@each_mode
@pytest.mark.parametrize(
    ("n_matches", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_k_of_ten_matches(n_matches: int, score: float, mode: ScoringMode) -> None:
    answers = ["dog"] * n_matches + [f"cat {i}" for i in range(10 - n_matches)]
    assert vqa_accuracy("dog", answers, mode) == pytest.approx(score, abs=1e-12)


@each_mode
def test_equal_answers_are_left_out_one_at_a_time(mode: ScoringMode) -> None:
    assert vqa_accuracy("yes", ["yes"] * 10, mode) == 1.0


@pytest.mark.parametrize(
    ("prediction", "answer", "scores"),
    [
        ("Yes.", "yes", (0, 1, 1, 1)),
        ("yes", "Yes", (0, 0, 1, 1)),
        (" yes\n", "yes", (1, 1, 1, 1)),
        ("yes", "yes\n", (1, 0, 1, 1)),
        ("Yes", "Yes", (1, 0, 1, 1)),
    ],
)
def test_unanimous_answers(prediction: str, answer: str, scores: tuple[int, ...]) -> None:
    assert tuple(vqa_accuracy(prediction, [answer] * 10, m) for m in PLAIN_MODES) == scores


def test_answers_that_are_unanimous_but_for_white_space() -> None:
    answers = ["yes"] * 9 + ["yes\n"]
    assert vqa_accuracy("Yes", answers, OFFICIAL) == 0.0
    assert vqa_accuracy("Yes", answers, OFFICIAL_2016) == 1.0
    assert vqa_accuracy("yes", [*answers[:2], "yes\n"], OFFICIAL_2016) == pytest.approx(4 / 9)


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ("red.", (1, 1, 1, 1)),
        ("Red", (1, 0, 1, 1)),
        ("the red", (1, 0, 1, 1)),
        ("red!", (1, 0, 1, 1)),
        ("red?", (1, 0, 1, 1)),
    ],
)
def test_answers_that_differ(answer: str, scores: tuple[int, ...]) -> None:
    answers = [answer] * 5 + ["blue"] * 5
    assert tuple(vqa_accuracy("red", answers, m) for m in PLAIN_MODES) == scores


def literal_forms(mode: ScoringMode, prediction: str, answers: list[str]) -> tuple[str, list[str]]:
    """State which form each mode compares."""
    if mode is LMMS_OKVQA:
        return literal_form_of_mmf(prediction), [literal_form_of_mmf(text) for text in answers]
    if mode is LMMS_VQAV2:
        lmms = [literal_form(text, several_commas=True) for text in (prediction, *answers)]
        return lmms[0], lmms[1:]
    if mode is OFFICIAL_2016:
        if len(set(answers)) == 1:
            return literal_form(prediction), answers
        return literal_form(prediction), [literal_form(a, punctuation_only=True) for a in answers]
    tidied = [text.replace("\n", " ").replace("\t", " ").strip() for text in answers]
    if len(set(tidied)) == 1:
        return prediction.replace("\n", " ").replace("\t", " ").strip(), tidied
    return literal_form(prediction), [literal_form(text) for text in tidied]


@each_plain_mode
@unhurried
@given(prediction=texts, answers=answer_lists)
def test_each_mode_compares_the_forms_of_a_literal_statement(
    mode: ScoringMode, prediction: str, answers: list[str]
) -> None:
    assert mode.rewrite(prediction, answers) == literal_forms(mode, prediction, answers)


@unhurried
@given(texts, st.lists(words, min_size=10, max_size=10), modes)
def test_ten_answers_give_one_of_five_scores(
    prediction: str, answers: list[str], mode: ScoringMode
) -> None:
    score = vqa_accuracy(prediction, answers, mode)
    assert 0.0 <= score <= 1.0
    assert any(math.isclose(score, possible) for possible in (0.0, 0.3, 0.6, 0.9, 1.0))


@unhurried
@given(texts, answer_lists, modes, st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(
    prediction: str, answers: list[str], mode: ScoringMode, chance: random.Random
) -> None:
    shuffled = list(answers)
    chance.shuffle(shuffled)
    assert vqa_accuracy(prediction, shuffled, mode) == vqa_accuracy(prediction, answers, mode)


@unhurried
@given(texts, answer_lists, modes)
def test_answers_are_not_changed(prediction: str, answers: list[str], mode: ScoringMode) -> None:
    before = list(answers)
    vqa_accuracy(prediction, answers, mode)
    assert answers == before


@unhurried
@given(texts, answer_lists, modes)
def test_the_score_is_the_mean_over_answers_left_out(
    prediction: str, answers: list[str], mode: ScoringMode
) -> None:
    wanted, given_forms = mode.rewrite(prediction, answers)
    matches = [form == wanted for form in given_forms]
    rounds = [
        min(1.0, sum(matches[:left_out] + matches[left_out + 1 :]) / 3)
        for left_out in range(len(matches))
    ]
    assert vqa_accuracy(prediction, answers, mode) == pytest.approx(mean(rounds), abs=1e-12)


@unhurried
@given(texts, answer_lists)
def test_official_and_lmms_vqav2_agree_where_the_answers_differ(
    prediction: str, answers: list[str]
) -> None:
    assume(len({*map(tidy, answers)}) > 1)
    assume(not any(",," in text for text in (prediction, *answers)))
    assert vqa_accuracy(prediction, answers, OFFICIAL) == vqa_accuracy(
        prediction, answers, LMMS_VQAV2
    )


@unhurried
@given(texts, answer_lists, st.sampled_from(PLAIN_MODES))
def test_stems_never_cost_a_match(prediction: str, answers: list[str], mode: ScoringMode) -> None:
    wanted, given_forms = mode.rewrite(prediction, answers)
    stems = with_stemmed_predictions(mode).rewrite(prediction, answers)
    assert stems == (stem(wanted), [stem(form) for form in given_forms])
    assert stems[1].count(stems[0]) >= given_forms.count(wanted)


@each_plain_mode
def test_stems_are_compared_only_where_that_is_asked_for(mode: ScoringMode) -> None:
    answers = ["race"] * 6 + ["pony"] * 4
    stemming = with_stemmed_predictions(mode)
    assert vqa_accuracy("racing", answers, mode) == 0.0
    assert vqa_accuracy("racing", answers, stemming) == 1.0
    assert vqa_accuracy("pony", answers, stemming) == 1.0


def test_stems_do_not_make_answers_unanimous() -> None:
    answers = ["dog"] * 5 + ["dogs"] * 5
    assert vqa_accuracy("Dogs.", answers, with_stemmed_predictions(OFFICIAL)) == 1.0


def test_a_mode_is_a_value() -> None:
    raw = ScoringMode(name="as-written", forms=Forms(as_written, as_written))
    assert vqa_accuracy("Red", ["red"] * 10, raw) == 0.0
    assert vqa_accuracy("Red", ["red"] * 10, LMMS_VQAV2) == 1.0


@each_mode
@pytest.mark.parametrize("text", ["red\x00blue", "\x00", "כלב חום", "\u202eكلب بني\u202c", "🐕"])
def test_unusual_text_equals_itself_and_nothing_else(text: str, mode: ScoringMode) -> None:
    answers = [text] * 5 + ["red"] * 5
    assert vqa_accuracy(text, answers, mode) == 1.0
    assert vqa_accuracy("blue", answers, mode) == 0.0


@each_mode
@pytest.mark.parametrize(
    "unit",
    ["a ", "red, ", "1,", ",", ".", "'", "dont ", "x" * 1000 + " ", "\n", "כלב "],
)
def test_a_prediction_of_a_megabyte_is_scored_in_a_second(unit: str, mode: ScoringMode) -> None:
    prediction = unit * (MEGABYTE // len(unit))
    began_s = time.process_time()
    assert vqa_accuracy(prediction, ["red"] * 5 + ["blue"] * 5, mode) == 0.0
    assert time.process_time() - began_s < 1.0


@each_mode
def test_no_answers_are_an_error_and_no_score(mode: ScoringMode) -> None:
    with pytest.raises(DataError, match="at least one answer"):
        vqa_accuracy("red", [], mode)


def test_modes_are_found_by_name() -> None:
    plain = ["official", "official-2016", "lmms-vqav2", "lmms-okvqa"]
    assert [*SCORING_MODES] == plain + [f"{name}+stemmed-predictions" for name in plain]
    assert [scoring_mode(name) for name in SCORING_MODES] == ALL_MODES
    assert [mode.name for mode in ALL_MODES] == [*SCORING_MODES]


@pytest.mark.parametrize(
    "name", ["vqa", "", "Official", "official+stemmed", "+stemmed-predictions"]
)
def test_an_unknown_mode_is_an_error_that_lists_the_modes(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        scoring_mode(name)
    assert repr(name) in str(error.value)
    assert all(known in str(error.value) for known in SCORING_MODES)


def test_scoring_needs_no_heavy_import() -> None:
    code = (
        "import sys, moe_eval_plugin.vqa.scoring, moe_eval_plugin.vqa.official_data; "
        "print(sorted({'torch', 'transformers', 'datasets', 'PIL', 'lmms_eval'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_misspelt_mode_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InvalidArgumentError, match=r"Did you mean official-2016\? Use one of"):
        scoring_mode("oficial-2016")
