"""The functions that the YAML files name: prompts, targets, scores, and what is logged."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.tasks import vqa
from tests.vqa_files import ANSWERS

if TYPE_CHECKING:
    from pathlib import Path

AS_STRINGS: dict[str, Any] = {"question_id": 5, "image_id": 7, "question": "?", "answers": ANSWERS}
AS_DICTS = AS_STRINGS | {
    "answers": [{"answer": text, "answer_id": n} for n, text in enumerate(ANSWERS, start=1)]
}


@pytest.mark.parametrize("doc", [AS_STRINGS, AS_DICTS])
def test_answers_of_both_forms(doc: dict[str, Any]) -> None:
    assert vqa.answers_of(doc) == ANSWERS
    assert vqa.doc_to_target(doc) == "red"
    assert vqa.score_vqa(doc, ["a RED"]).scores == {"vqa_accuracy": 1.0}
    assert vqa.score_vqa(doc, ["blue"]).scores["vqa_accuracy"] == pytest.approx(0.6)


@pytest.mark.parametrize("doc", [{"question_id": 5}, {"answers": None}, {"answers": []}])
def test_a_document_without_answers_has_no_target_and_no_score(doc: dict[str, Any]) -> None:
    assert vqa.doc_to_target(doc) == ""
    with pytest.raises(DataError):
        vqa.score_vqa(doc, ["red"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=10), st.lists(st.text(max_size=10), min_size=1, max_size=10))
def test_scoring_leaves_the_document_as_it_is(prediction: str, answers: list[str]) -> None:
    doc = AS_STRINGS | {"answers": [{"answer": text} for text in answers]}
    before = copy.deepcopy(doc)
    for score in (vqa.score_vqa, vqa.score_exact_match, vqa.keep_submission):
        score(doc, [prediction])
    assert doc == before


def test_what_is_summed_up_and_what_is_logged() -> None:
    scores = vqa.score_vqa(AS_STRINGS, ["blue"])
    sample: dict[str, object] = {"doc_id": 0}
    sample.update(scores)
    assert list(scores.items()) == [("vqa_accuracy", sample["vqa_accuracy"])]
    assert sample["score"] == sample["vqa_accuracy"] == pytest.approx(0.6)
    assert (sample["question_id"], sample["image_id"]) == (5, 7)
    assert len(scores) == 4


@pytest.mark.parametrize(
    ("answer", "match"),
    [("yes", 1.0), (" Yes.\n", 1.0), ("YES .", 1.0), ("yes..", 0.0), ("yes, it is", 0.0), ("", 0)],
)
def test_exact_match(answer: str, match: float) -> None:
    doc = AS_STRINGS | {"answers": ["Yes"]}
    assert vqa.score_exact_match(doc, [answer]).scores == {"exact_match": match}


def test_a_submission_is_kept_and_counted() -> None:
    doc = {"question_id": 5, "image_id": 7}
    kept = [vqa.keep_submission(doc, [answer]) for answer in (" two dogs ", "", " ")]
    assert kept[0]["submission"] == {"question_id": 5, "answer": "two dogs"}
    assert "score" not in kept[0]
    assert vqa.count_answered([str(one["n_answered"]) for one in kept]) == 1


def test_the_prompt() -> None:
    parts = {"pre_prompt": "Look. ", "post_prompt": "\nBe short."}
    assert vqa.doc_to_text({"question": "Why?"}, parts) == "Look. Why?\nBe short."
    assert vqa.doc_to_text({"question": "Why?"}) == "Why?"


def test_an_image_by_its_path_and_one_from_the_hub(tmp_path: Path) -> None:
    grey = Image.new("L", (4, 3), 9)
    grey.save(tmp_path / "a.png")
    for image in ({"path": str(tmp_path / "a.png"), "bytes": None}, grey):
        (opened,) = vqa.doc_to_visual({"question_id": 5, "image": image})
        assert (opened.mode, opened.size) == ("RGB", (4, 3))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    doc = {"question_id": 5, "image": {"path": str(tmp_path / "a.png"), "bytes": None}}
    with pytest.raises(DataError, match=r"a\.png, the image of question 5"):
        vqa.doc_to_visual(doc)
