"""The functions that the YAML files name: prompts, targets, scores, and what is logged."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.tasks import vqa
from moe_eval_plugin.vqa import scores_by_type
from tests.results.run_files import FAILURES
from tests.vqa.vqa_files import ANSWERS

if TYPE_CHECKING:
    from pathlib import Path


AS_STRINGS: dict[str, Any] = {"question_id": 5, "image_id": 7, "question": "?", "answers": ANSWERS}


AS_DICTS = AS_STRINGS | {
    "answers": [{"answer": text, "answer_id": n} for n, text in enumerate(ANSWERS, start=1)]
}


MODES = {"vqa_accuracy": "lmms-vqav2", "official": "official"}


TYPES = {"question_type": "what color is the", "answer_type": "other"}


@pytest.mark.parametrize("doc", [AS_STRINGS, AS_DICTS])
def test_answers_of_both_forms(doc: dict[str, Any]) -> None:
    assert vqa.answers_of(doc) == ANSWERS
    assert vqa.doc_to_target(doc) == "red"
    assert vqa.score_vqa(doc, ["a RED"])["vqa_accuracy"] == 1.0
    assert vqa.score_vqa(doc, ["blue"])["vqa_accuracy"] == pytest.approx(0.6)


@pytest.mark.parametrize("doc", [{"question_id": 5}, {"answers": None}, {"answers": []}])
def test_a_document_without_answers_has_no_target_and_no_score(doc: dict[str, Any]) -> None:
    assert vqa.doc_to_target(doc) == ""
    with pytest.raises(DataError):
        vqa.score_vqa(doc, ["red"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=10), st.lists(st.text(max_size=10), min_size=1, max_size=10))
def test_scoring_leaves_the_document_as_it_is(prediction: str, answers: list[str]) -> None:
    doc = AS_STRINGS | TYPES | {"answers": [{"answer": text} for text in answers]}
    before = copy.deepcopy(doc)
    for score in (vqa.score_vqa, vqa.score_exact_match, vqa.keep_submission):
        score(doc, [prediction])
    vqa.score_vqa(doc, [prediction], MODES)
    assert doc == before


def test_what_is_summed_up_and_what_is_logged() -> None:
    scores = vqa.score_vqa(AS_STRINGS | TYPES, ["blue"], MODES)
    sample: dict[str, object] = {"doc_id": 0}
    sample.update(scores)
    assert set(scores) == {*MODES, "score", "question_id", "image_id", *TYPES}
    assert sample["score"] == sample["vqa_accuracy"] == pytest.approx(0.6)
    assert (sample["question_id"], sample["image_id"]) == (5, 7)
    assert {kind: sample[kind] for kind in TYPES} == TYPES
    both = {metric: sample[metric] for metric in MODES}
    typed = ("what color is the", "other", both)
    assert dict(scores.items()) == {**both, scores_by_type.SCORES_BY_TYPE: typed}


@pytest.mark.parametrize("unknown", ["", None])
def test_a_type_that_is_not_known_is_not_logged(unknown: str | None) -> None:
    doc = AS_STRINGS | {"question_type": unknown, "answer_type": unknown}
    for scores in (vqa.score_vqa(doc, ["blue"]), vqa.score_vqa(AS_STRINGS, ["blue"])):
        assert set(scores) == {"vqa_accuracy", "score", "question_id", "image_id"}
        assert scores.scores[scores_by_type.SCORES_BY_TYPE] == (
            "",
            "",
            {"vqa_accuracy": scores["score"]},
        )


def test_exact_match_logs_the_types_too() -> None:
    assert vqa.score_exact_match(AS_STRINGS | TYPES, ["blue"])["answer_type"] == "other"


def test_every_mode_has_its_own_score_and_the_first_is_that_of_the_sample() -> None:
    unanimous = AS_STRINGS | {"answers": ["yes"] * 10}
    scores = vqa.score_vqa(unanimous, ["Yes"], MODES)
    assert [scores[metric] for metric in MODES] == [1.0, 0.0]
    assert scores["score"] == 1.0
    turned = vqa.score_vqa(unanimous, ["Yes"], dict(reversed(MODES.items())))
    assert turned["score"] == 0.0


def test_the_official_scores_have_a_row_for_each_answer_type_that_occurs() -> None:
    average = {"n": 2, "vqa_accuracy": 0.5, "vqa_accuracy_stderr": 0.5}
    average |= {"official": 0.25, "official_stderr": 0.125}
    by_type = {"answer_types": {"yes/no": average, "colour": average}, "question_types": {}}
    assert scores_by_type.rows_by_answer_type(by_type, MODES) == {"official_yes_no": (0.25, 0.125)}
    assert scores_by_type.rows_by_answer_type(by_type, {"vqa_accuracy": "lmms-vqav2"}) == {}
    by_type["answer_types"] = dict.fromkeys(("number", "other"), average)
    assert set(scores_by_type.rows_by_answer_type(by_type, MODES)) == {
        "official_number",
        "official_other",
    }


def test_an_empty_answer_is_scored_like_any_other() -> None:
    scores = vqa.score_vqa(AS_STRINGS | TYPES, [""], MODES)
    assert [scores[metric] for metric in MODES] == [0.0, 0.0]
    said_nothing = AS_STRINGS | {"answers": ["", "", "", "", "?", "?", "no", "no", "no", "no"]}
    assert vqa.score_vqa(said_nothing, [""], MODES)["official"] == 1.0


def test_a_scoring_of_modes_that_exist_is_taken() -> None:
    assert vqa.check_scoring(MODES) == MODES


@pytest.mark.parametrize(
    ("scoring", "said"),
    [
        ("official", "metadata.scoring is 'official'. Use a mapping of metrics"),
        ({}, "metadata.scoring is {}"),
        ({"a": "vqa"}, "no scoring mode 'vqa'"),
        ({"a": None}, "no scoring mode 'None'"),
    ],
)
def test_a_scoring_that_says_nothing_is_refused(scoring: object, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        vqa.check_scoring(scoring)


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


def test_no_answer_at_all_is_scored_like_an_empty_one() -> None:
    assert vqa.score_exact_match(AS_STRINGS, [None]).scores == {"exact_match": 0.0}
    assert vqa.score_vqa(AS_STRINGS, [None])["vqa_accuracy"] == 0.0
    assert vqa.keep_submission(AS_STRINGS, [None])["n_answered"] == ""


def test_messages_about_failed_requests_are_no_answers() -> None:
    assert vqa.count_answered(["red", *FAILURES, "[error]"]) == 2


def test_the_prompt() -> None:
    parts = {"pre_prompt": "Look. ", "post_prompt": "\nBe short."}
    assert vqa.doc_to_text({"question": "Why?"}, parts) == "Look. Why?\nBe short."
    assert vqa.doc_to_text({"question": "Why?"}) == "Why?"


def write_turned_tiff(path: Path) -> None:
    """Write 16-bit grey on its side, which datasets decodes to another mode than RGB."""
    tags = Image.Exif()
    tags[0x0112] = 6
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(pixels).save(path, exif=tags)


def write_transparent_png(path: Path) -> None:
    image = Image.new("RGBA", (3, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    image.save(path)


@pytest.mark.parametrize("write", [write_turned_tiff, write_transparent_png])
def test_an_image_is_the_same_from_every_source(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "a.png"
    write(path.with_suffix(".tiff" if "tiff" in write.__name__ else ".png"))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    decoded = datasets.Image().decode_example({"path": None, "bytes": content})
    sources = (
        {"path": str(path), "bytes": None},
        {"path": None, "bytes": content},
        {"path": "gone.png", "bytes": content},
        decoded,
    )
    shown = [vqa.doc_to_visual({"question_id": 5, "image": image})[0] for image in sources]
    assert {(image.mode, image.size) for image in shown} == {("RGB", (3, 4))}
    assert len({image.tobytes() for image in shown}) == 1
    assert len(shown[0].getcolors()) > 1


@pytest.mark.parametrize("image", [None, {"path": None, "bytes": None}, {"path": "", "bytes": b""}])
def test_a_question_without_an_image_is_named(image: Any) -> None:
    with pytest.raises(DataError, match="Question 5 has no image"):
        vqa.doc_to_visual({"question_id": 5, "image": image})


def test_an_image_in_memory_without_pixels_is_named() -> None:
    with pytest.raises(DataError, match="image of question 5 cannot be used: it has no pixels"):
        vqa.doc_to_visual({"question_id": 5, "image": Image.new("RGB", (0, 5))})


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    doc = {"question_id": 5, "image": {"path": str(tmp_path / "a.png"), "bytes": None}}
    with pytest.raises(DataError, match=r"a\.png, the image of question 5"):
        vqa.doc_to_visual(doc)
