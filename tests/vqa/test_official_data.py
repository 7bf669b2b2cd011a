"""Official files: what is read from good ones, and what is said about each bad one."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.vqa.official_data import (
    Annotation,
    Question,
    load_official,
    read_annotations,
    read_questions,
)
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.vqa.vqa_files import (
    ANNOTATIONS,
    ANSWERS,
    QUESTIONS,
    add_types_and_raw_answers,
    cut_off,
    edit_json,
    fails,
    given,
    question_id,
    write_json,
    write_official,
)

if TYPE_CHECKING:
    from collections.abc import Callable


IDS = st.integers(0, 2**40)


def test_good_files(official_folder: Path) -> None:
    questions = load_official("okvqa", official_folder)
    assert questions.records[1] == {
        "question_id": question_id(8),
        "image_id": 8,
        "question": "What colour is no. 8?",
        "image": str(official_folder / "val2014" / "COCO_val2014_000000000008.jpg"),
        "answers": ANSWERS,
        "question_type": "",
        "answer_type": "",
    }
    assert len(questions.records) == 3
    assert (questions.n_left_out, questions.reason) == (0, "")
    assert questions.sha256 == {
        name: hashlib.sha256((official_folder / name).read_bytes()).hexdigest()
        for name in (QUESTIONS, ANNOTATIONS)
    }


@pytest.mark.parametrize("name", ["vqa_v2_test", "vqa_v2_test_dev"])
def test_a_split_without_public_answers(tmp_path: Path, name: str) -> None:
    files = write_official(tmp_path, name)
    questions = load_official(name, tmp_path)
    assert [record["answers"] for record in questions.records] == [[], [], []]
    assert questions.records[0]["image"].endswith("test2015/COCO_test2015_000000000007.jpg")
    assert list(questions.sha256) == [files.questions]


def test_the_real_files(vqa_data: Path) -> None:
    with_images = json.loads((vqa_data / "with_images.json").read_text())
    for name, key, n_all in (("okvqa", "okvqa", 5046), ("vqa_v2_val", "vqav2", 589)):
        questions = load_official(name, vqa_data)
        assert sorted(r["question_id"] for r in questions.records) == sorted(with_images[key])
        assert len(questions.records) + questions.n_left_out == n_all
        assert {len(record["answers"]) for record in questions.records} == {10}


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_a_file_that_was_cut_off_is_refused(official_folder: Path, name: str) -> None:
    cut_off(official_folder / name)
    assert fails(official_folder).startswith(f"{official_folder / name} is not complete JSON")


def test_a_folder_in_the_place_of_a_file(official_folder: Path) -> None:
    (official_folder / QUESTIONS).unlink()
    (official_folder / QUESTIONS).mkdir()
    assert f"{official_folder / QUESTIONS} cannot be read" in fails(official_folder)


def test_results_of_another_tool_are_no_questions(official_folder: Path) -> None:
    write_json(official_folder / QUESTIONS, [{"question_id": 71, "answer": "red"}])
    message = fails(official_folder)
    assert message.startswith(f"{official_folder / QUESTIONS} has an unexpected form")
    assert "a list of objects with the keys question_id, answer" in message


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (QUESTIONS, lambda c: c["questions"][1].pop("image_id"), '"image_id" is missing'),
        (QUESTIONS, lambda c: c["questions"][1].update(question=3), '"question" is 3'),
        (QUESTIONS, lambda c: c["questions"][1].pop("question_id"), '"question_id" is missing'),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(question_id="7"), "is '7'"),
        (ANNOTATIONS, lambda c: c["annotations"][1].pop("answers"), '"answers" is missing'),
        (QUESTIONS, lambda c: c["questions"][1].update(image_id=True), '"image_id" is True'),
        (QUESTIONS, lambda c: c["questions"][1].update(question_id=81.0), '"question_id" is 81.0'),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(answers=None), '"answers" is None'),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(question_type=3), '_type" is 3'),
        (ANNOTATIONS, lambda c: c["annotations"][1]["answers"][0].clear(), '"answer" is missing'),
    ],
)
def test_an_entry_that_lacks_something(
    official_folder: Path, name: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit_json(official_folder / name, change)
    message = fails(official_folder)
    assert str(official_folder / name) in message
    assert said in message


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([], "question 81 has 0 answers instead of 10"),
        (ANSWERS[:9], "question 81 has 9 answers instead of 10"),
        ([*ANSWERS, "red"], "question 81 has 11 answers instead of 10"),
        ([*ANSWERS[:9], None], '"answer" is None'),
        ([*ANSWERS[:9], 3], '"answer" is 3'),
    ],
)
def test_other_than_ten_answers_that_are_text(
    official_folder: Path, answers: list[object], said: str
) -> None:
    edit_json(
        official_folder / ANNOTATIONS, lambda c: c["annotations"][1].update(answers=given(answers))
    )
    message = fails(official_folder)
    assert str(official_folder / ANNOTATIONS) in message
    assert said in message


def test_answers_that_are_no_objects(official_folder: Path) -> None:
    edit_json(official_folder / ANNOTATIONS, lambda c: c["annotations"][1].update(answers=ANSWERS))
    assert "question 81 has an answer that is 'red' instead of an object" in fails(official_folder)


def test_answers_need_no_id(official_folder: Path) -> None:
    answers = [{"answer": answer} for answer in ANSWERS]
    edit_json(official_folder / ANNOTATIONS, lambda c: c["annotations"][1].update(answers=answers))
    assert load_official("okvqa", official_folder).records[1]["answers"] == ANSWERS


def test_types_are_passed_on(official_folder: Path) -> None:
    types = {"question_type": "what color", "answer_type": "other"}
    edit_json(official_folder / ANNOTATIONS, lambda c: c["annotations"][1].update(types))
    edit_json(official_folder / ANNOTATIONS, lambda c: c["annotations"][2].update(answer_type=None))
    records = load_official("okvqa", official_folder).records
    assert [(r["question_type"], r["answer_type"]) for r in records] == [
        ("", ""),
        ("what color", "other"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("answer_set", "first"), [(None, "red"), ("as-given", "red"), ("raw", "reds")]
)
def test_the_set_of_answers_can_be_chosen(
    official_folder: Path, answer_set: str | None, first: str
) -> None:
    edit_json(official_folder / ANNOTATIONS, add_types_and_raw_answers)
    questions = load_official("okvqa", official_folder, answer_set=answer_set)
    assert {record["answers"][0] for record in questions.records} == {first}
    annotations = read_annotations("okvqa", official_folder, answer_set)
    assert annotations is not None
    assert {annotation.answers[0] for annotation in annotations.values()} == {first}


def test_raw_answers_that_are_absent(official_folder: Path) -> None:
    entry = {"question_id": 71, "answers": ["reds"] * 10}
    write_json(official_folder / "raw_answers.json", [entry])
    with pytest.raises(DataError, match=r'no "raw_answer" for question 71.*run the task okvqa'):
        load_official("okvqa", official_folder, answer_set="raw")


def test_raw_answers_of_a_split_without_public_answers(tmp_path: Path) -> None:
    write_official(tmp_path, "vqa_v2_test")
    with pytest.raises(
        DataError,
        match="answer_set=raw is not possible for vqa_v2_test",
    ):
        load_official("vqa_v2_test", tmp_path, answer_set="raw")


def test_a_set_of_answers_that_is_unknown(official_folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"answer_set=cooked .*Use as-given or raw"):
        load_official("okvqa", official_folder, answer_set="cooked")


def test_questions_alone_can_be_read(tmp_path: Path) -> None:
    files = write_official(tmp_path, image_ids=(9, 7))
    (tmp_path / str(files.annotations)).unlink()
    shutil.rmtree(tmp_path / files.image_folder)
    questions = read_questions("okvqa", tmp_path)
    assert list(questions.items()) == [
        (question_id(9), Question(9, "What colour is no. 9?")),
        (question_id(7), Question(7, "What colour is no. 7?")),
    ]


def test_annotations_alone_can_be_read(tmp_path: Path) -> None:
    files = write_official(tmp_path)
    (tmp_path / files.questions).unlink()
    annotations = read_annotations("okvqa", tmp_path)
    assert annotations is not None
    assert list(annotations) == [71, 81, 91]
    assert annotations[81] == Annotation(ANSWERS, "", "")


def test_no_annotations_where_the_answers_are_not_public(tmp_path: Path) -> None:
    assert read_annotations("vqa_v2_test_dev", tmp_path) is None


def test_the_real_files_are_read_as_json_reads_them(vqa_data: Path) -> None:
    for name, below in (("okvqa", "okvqa"), ("vqa_v2_val", "vqav2")):
        files = OFFICIAL_FILES[name]
        asked = json.loads((vqa_data / below / files.questions).read_text())["questions"]
        assert list(read_questions(name, vqa_data).items()) == [
            (q["question_id"], Question(q["image_id"], q["question"])) for q in asked
        ]
        answered = json.loads((vqa_data / below / str(files.annotations)).read_text())[
            "annotations"
        ]
        assert read_annotations(name, vqa_data) == {
            a["question_id"]: Annotation(
                [answer["answer"] for answer in a["answers"]], a["question_type"], a["answer_type"]
            )
            for a in answered
        }


@settings(deadline=None)
@hypothesis.given(
    st.dictionaries(IDS, st.tuples(IDS, st.text()), min_size=1), st.booleans(), st.booleans()
)
def test_any_questions_come_back_as_written(
    questions: dict[int, tuple[int, str]], escaped: bool, marked: bool
) -> None:
    entries = [
        {"question_id": number, "image_id": image_id, "question": text}
        for number, (image_id, text) in questions.items()
    ]
    with tempfile.TemporaryDirectory() as official_folder:
        text = json.dumps({"questions": entries}, ensure_ascii=escaped)
        (Path(official_folder) / QUESTIONS).write_text(text, "utf-8-sig" if marked else "utf-8")
        assert list(read_questions("okvqa", Path(official_folder)).items()) == list(
            questions.items()
        )


@settings(deadline=None)
@hypothesis.given(
    st.dictionaries(
        IDS,
        st.builds(
            Annotation,
            st.lists(st.text(), min_size=10, max_size=10),
            question_type=st.text(),
            answer_type=st.text(),
        ),
        min_size=1,
    )
)
def test_any_annotations_come_back_as_written(annotations: dict[int, Annotation]) -> None:
    entries = [
        {"question_id": number, **asdict(annotation), "answers": given(annotation.answers)}
        for number, annotation in annotations.items()
    ]
    with tempfile.TemporaryDirectory() as official_folder:
        write_json(Path(official_folder) / ANNOTATIONS, {"annotations": entries})
        assert read_annotations("okvqa", Path(official_folder)) == annotations


def test_the_sizes_of_the_splits() -> None:
    sizes = {name: files.n_questions for name, files in OFFICIAL_FILES.items()}
    assert sizes == {
        "okvqa": 5_046,
        "vqa_v2_val": 214_354,
        "vqa_v2_test_dev": 107_394,
        "vqa_v2_test": 447_793,
    }


@pytest.mark.parametrize(("name", "key"), [(QUESTIONS, "questions"), (ANNOTATIONS, "annotations")])
def test_repeated_questions(official_folder: Path, name: str, key: str) -> None:
    edit_json(official_folder / name, lambda content: content[key].append(content[key][0]))
    message = fails(official_folder)
    assert (
        f"{official_folder / name} has more than one entry for 1 question ids (first: 71)"
        in message
    )


def test_questions_without_answers(official_folder: Path) -> None:
    edit_json(official_folder / ANNOTATIONS, lambda content: content["annotations"].pop(0))
    assert (
        f"{official_folder / ANNOTATIONS} has no answers for 1 of the questions (first: 71)"
        in fails(official_folder)
    )


def test_only_some_ids_are_shown(tmp_path: Path) -> None:
    write_official(tmp_path, image_ids=range(1, 9))
    edit_json(tmp_path / ANNOTATIONS, lambda content: content["annotations"].__delitem__(slice(7)))
    assert "for 7 of the questions (first: 11, 21, 31, 41, 51, ...)" in fails(tmp_path)


def test_questions_without_an_image_are_left_out(official_folder: Path) -> None:
    (official_folder / "val2014" / "COCO_val2014_000000000008.jpg").unlink()
    questions = load_official("okvqa", official_folder)
    assert [record["image_id"] for record in questions.records] == [7, 9]
    assert questions.n_left_out == 1
    assert questions.reason == f"their image is not in {official_folder / 'val2014'}"


def test_strict_does_not_leave_questions_out(official_folder: Path) -> None:
    (official_folder / "val2014" / "COCO_val2014_000000000008.jpg").unlink()
    with pytest.raises(DataError) as caught:
        load_official("okvqa", official_folder, strict=True)
    message = str(caught.value)
    assert "okvqa: 1 of 3 questions have no image" in message
    assert "first: COCO_val2014_000000000008.jpg" in message
    assert "unset MOE_EVAL_DATA_STRICT" in message


def test_strict_with_every_image(official_folder: Path) -> None:
    assert len(load_official("okvqa", official_folder, strict=True).records) == 3
