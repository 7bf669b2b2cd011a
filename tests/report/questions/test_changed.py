"""The questions that changed: the right ones, with their own images, and never too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.questions.changed import changed_questions
from moe_eval_plugin.report.questions.thumbnails import (
    LONGEST_SIDE,
)
from moe_eval_plugin.report.read_series import read_series
from tests.report.questions.changed_runs import picture
from tests.report.report_runs import TASK, records, write_other_run, write_run, wrong_every
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def changed(path: Path, most: int = 100) -> dict[str, Any]:
    return changed_questions(read_series([path]), most)


def write_pair(folder: Path) -> None:
    """At k=8 each tenth answer is wrong, and at k=4 each fourth."""
    write_run(folder / "k8", 8, wrong_every(10))
    write_run(folder / "k4", 4, wrong_every(4, "something else"))


def test_only_questions_that_went_from_right_to_wrong_are_listed(tmp_path: Path) -> None:
    write_pair(tmp_path)

    found = changed(tmp_path)

    expected = [str(n) for n in range(40) if n % 4 == 0 and n % 10 != 0]
    assert [one["k"] for one in found["questions"]] == expected
    assert found["series"][0]["points"] == [
        {"label": "k=4", "changed": len(expected), "shown": len(expected)}
    ]


def test_a_question_comes_with_its_answers_at_each_k_and_without_the_prompt(
    tmp_path: Path,
) -> None:
    write_pair(tmp_path)
    record = records(5)[4]

    question = changed(tmp_path)["questions"][0]

    assert question["q"] == record["question"]
    assert question["t"] == record["answers"][0]
    assert question["a"] == [["k=8", record["answers"][0], 1], ["k=4", "something else", 0]]
    assert question["w"] == ["k=4"]


def test_at_most_so_many_are_listed_for_each_setting_and_the_rest_is_counted(
    tmp_path: Path,
) -> None:
    write_pair(tmp_path)
    write_run(tmp_path / "k2", 2, wrong_every(4, "yet another"))

    found = changed(tmp_path, 3)

    assert [point["shown"] for point in found["series"][0]["points"]] == [3, 3]
    assert [point["changed"] for point in found["series"][0]["points"]] == [8, 8]
    # The same ones at each k, so that they can be followed.
    assert len(found["questions"]) == 3


def test_questions_about_one_image_share_its_picture(tmp_path: Path) -> None:
    write_pair(tmp_path)

    found = changed(tmp_path)

    images = {one["image_id"] for one in records(40) if one["question_id"] % 4 == 0}
    used = {one["i"] for one in found["questions"]}
    assert used == set(range(len(found["images"])))
    assert len(found["images"]) <= len(images)
    assert max(picture(found["images"][0]).size) <= LONGEST_SIDE


def test_the_page_says_why_there_are_no_images(tmp_path: Path) -> None:
    for k, step in ((8, 10), (4, 4)):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(step))
        edit_json(path, lambda content: content["configs"][TASK].pop("dataset_kwargs"))

    found = changed(tmp_path)

    assert found["images"] == []
    assert found["notes"] == [
        f"Shown without images: the images of {TASK} are not known to this package."
    ]


def test_a_model_without_k_has_no_changed_questions(tmp_path: Path) -> None:
    write_other_run(tmp_path)

    assert changed(tmp_path)["series"] == []
