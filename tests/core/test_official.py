"""Official files: what is read from good ones, and what is said about each bad one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.official import OFFICIAL_FILES, load_official
from tests.vqa_files import ANSWERS, cut_off, edit_json, question_id, write_json, write_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUESTIONS = OFFICIAL_FILES["okvqa"].questions
ANNOTATIONS = str(OFFICIAL_FILES["okvqa"].annotations)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_official(tmp_path)
    return tmp_path


def fails(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_official("okvqa", folder)
    return str(caught.value)


def test_good_files(folder: Path) -> None:
    questions = load_official("okvqa", folder)
    assert questions.records[1] == {
        "question_id": question_id(8),
        "image_id": 8,
        "question": "What colour is no. 8?",
        "image": str(folder / "val2014" / "COCO_val2014_000000000008.jpg"),
        "answers": ANSWERS,
    }
    assert len(questions.records) == 3
    assert (questions.n_left_out, questions.reason) == (0, "")
    assert questions.sha256 == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
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


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_files_are_found_two_folders_deep(tmp_path: Path, below: str) -> None:
    write_official(tmp_path / below)
    assert len(load_official("okvqa", tmp_path).records) == 3


def test_files_three_folders_deep_are_not_searched(tmp_path: Path) -> None:
    write_official(tmp_path / "a" / "b" / "c")
    assert "nor up to 2 folders below" in fails(tmp_path)


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS, "val2014"])
def test_a_missing_file_is_named_with_what_was_expected(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "other")
    message = fails(folder)
    assert message.startswith(f"{name} was found neither in {folder}")
    assert "COCO_val2014_000000000042.jpg" in message
    assert "okvqa.allenai.org" in message
    assert "MOE_EVAL_DATA" in message


def test_two_files_of_one_name_are_both_named(folder: Path) -> None:
    write_official(folder / "again")
    message = fails(folder)
    assert f"{folder / QUESTIONS} and {folder / 'again' / QUESTIONS}" in message


def test_one_file_by_two_ways_is_one(folder: Path) -> None:
    (folder / "again").mkdir()
    (folder / "again" / QUESTIONS).symlink_to(folder / QUESTIONS)
    assert len(load_official("okvqa", folder).records) == 3


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_a_file_that_was_cut_off(folder: Path, name: str) -> None:
    cut_off(folder / name)
    message = fails(folder)
    assert message.startswith(f"{folder / name} is not complete JSON")
    assert "cut off" in message


def test_a_file_that_is_not_utf8(folder: Path) -> None:
    (folder / QUESTIONS).write_bytes(b'\x1f\x8b\x08{"questions": []}')
    message = fails(folder)
    assert message.startswith(f"{folder / QUESTIONS} is not UTF-8")


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / QUESTIONS).unlink()
    (folder / QUESTIONS).mkdir()
    assert f"{folder / QUESTIONS} cannot be read" in fails(folder)


def test_a_file_in_the_place_of_the_images(tmp_path: Path) -> None:
    write_official(tmp_path, image_ids=())
    write_official(tmp_path / "other")
    (tmp_path / "val2014").rmdir()
    (tmp_path / "val2014").write_text("")
    for path in (tmp_path / "other").glob("*.json"):
        path.replace(tmp_path / path.name)
    (tmp_path / "other" / "val2014").rename(tmp_path / "elsewhere")
    assert f"{tmp_path / 'val2014'} cannot be listed" in fails(tmp_path)


@pytest.mark.parametrize(
    ("content", "outline"),
    [
        ([1, 2], "It is a list"),
        ({"annotations": [1], "info": {}}, "an object with the keys annotations, info"),
        ({}, "an object with the keys (none)"),
        ({"questions": {}}, "an object with the keys questions"),
        ({"questions": []}, "one or more"),
        ({"questions": [7]}, "objects was expected"),
    ],
)
def test_json_of_another_form(folder: Path, content: object, outline: str) -> None:
    write_json(folder / QUESTIONS, content)
    message = fails(folder)
    assert message.startswith(f"{folder / QUESTIONS} has an unexpected form")
    assert outline in message


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (QUESTIONS, lambda c: c["questions"][1].pop("image_id"), '"image_id" is absent'),
        (QUESTIONS, lambda c: c["questions"][1].update(question=3), '"question" is 3'),
        (QUESTIONS, lambda c: c["questions"][1].pop("question_id"), '"question_id" is absent'),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(question_id="7"), "is '7'"),
        (ANNOTATIONS, lambda c: c["annotations"][1].pop("answers"), '"answers" is absent'),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(answers=[]), "81 has no answers"),
        (ANNOTATIONS, lambda c: c["annotations"][1].update(answers=["red"]), "has no answers"),
        (ANNOTATIONS, lambda c: c["annotations"][1]["answers"][0].clear(), '"answer" is absent'),
    ],
)
def test_an_entry_that_lacks_something(
    folder: Path, name: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit_json(folder / name, change)
    message = fails(folder)
    assert str(folder / name) in message
    assert said in message


@pytest.mark.parametrize(("name", "key"), [(QUESTIONS, "questions"), (ANNOTATIONS, "annotations")])
def test_repeated_questions(folder: Path, name: str, key: str) -> None:
    edit_json(folder / name, lambda content: content[key].append(content[key][0]))
    message = fails(folder)
    assert f"{folder / name} has more than one entry for 1 question ids (first: 71)" in message


def test_questions_without_answers(folder: Path) -> None:
    edit_json(folder / ANNOTATIONS, lambda content: content["annotations"].pop(0))
    assert f"{folder / ANNOTATIONS} has no answers for 1 of the questions (first: 71)" in fails(
        folder
    )


def test_only_some_ids_are_shown(tmp_path: Path) -> None:
    write_official(tmp_path, image_ids=range(1, 9))
    edit_json(tmp_path / ANNOTATIONS, lambda content: content["annotations"].__delitem__(slice(7)))
    assert "for 7 of the questions (first: 11, 21, 31, 41, 51, ...)" in fails(tmp_path)


def test_questions_without_an_image_are_left_out(folder: Path) -> None:
    (folder / "val2014" / "COCO_val2014_000000000008.jpg").unlink()
    questions = load_official("okvqa", folder)
    assert [record["image_id"] for record in questions.records] == [7, 9]
    assert questions.n_left_out == 1
    assert questions.reason == f"their image is not in {folder / 'val2014'}"


def test_strict_does_not_leave_questions_out(folder: Path) -> None:
    (folder / "val2014" / "COCO_val2014_000000000008.jpg").unlink()
    with pytest.raises(DataError) as caught:
        load_official("okvqa", folder, strict=True)
    message = str(caught.value)
    assert "okvqa: 1 of 3 questions have no image" in message
    assert "first: COCO_val2014_000000000008.jpg" in message
    assert "unset MOE_EVAL_DATA_STRICT" in message


def test_strict_with_every_image(folder: Path) -> None:
    assert len(load_official("okvqa", folder, strict=True).records) == 3


def test_an_empty_image_folder(folder: Path) -> None:
    for image in (folder / "val2014").iterdir():
        image.unlink()
    message = fails(folder)
    assert f"okvqa: 3 of 3 questions have no image in {folder / 'val2014'}" in message
    assert "STRICT" not in message
