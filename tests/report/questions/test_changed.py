"""The questions that changed: with their answers, their own images, and never too many."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.questions.changed import changed_questions
from moe_eval_plugin.report.questions.thumbnails import LONGEST_SIDE
from tests.report.questions.changed_runs import picture
from tests.report.report_runs import (
    TASK,
    computed,
    in_provenance,
    records,
    set_question_types,
    write_other_run,
    write_run,
    wrong_every,
)
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def changed(path: Path, most: int = 100) -> dict[str, Any]:
    return changed_questions([computed(path)], most)


def write_pair(folder: Path) -> None:
    """At k=8 each tenth answer is wrong, and at k=4 each fourth."""
    write_run(folder / "k8", 8, wrong_every(10))
    write_run(folder / "k4", 4, wrong_every(4, "something else"))


def test_each_question_that_changed_is_listed_with_its_kind(tmp_path: Path) -> None:
    write_pair(tmp_path)

    found = changed(tmp_path)

    kinds = {one["k"]: one["w"] for one in found["questions"]}
    lost = {str(n): "-l" for n in range(40) if n % 4 == 0 and n % 10 != 0}
    gained = {"10": "-g", "30": "-g"}
    same = {"0": "-s", "20": "-s"}
    assert kinds == lost | gained | same
    (series,) = found["series"]
    assert (series["baseline"], series["start"], series["id"]) == ("k=8", "k=4", "question_id")
    published, other = series["points"]
    assert published["changed"] is None
    assert other["changed"] == other["shown"] == {"lost": 8, "gained": 2, "same": 2}
    assert other["compared"] == 40
    assert other["file"].endswith(f"_samples_{TASK}.jsonl")


def test_a_question_comes_with_its_answers_at_each_k_and_without_the_prompt(
    tmp_path: Path,
) -> None:
    write_pair(tmp_path)
    set_question_types(next((tmp_path / "k8").glob("*_results.json")), lambda _: "which colour")
    record = records(5)[4]

    found = changed(tmp_path)

    question = next(one for one in found["questions"] if one["k"] == "4")
    texts = found["texts"]
    assert texts[question["q"]] == record["question"]
    assert texts[question["t"]] == record["answers"][0]
    assert [texts[one] for one in question["a"]] == [record["answers"][0], "something else"]
    assert question["v"] == [1, 0]
    assert texts[question["z"]] == "which colour"
    assert question["g"] == str(record["image_id"])
    assert "u" not in question


def test_a_score_that_is_a_share_is_kept_and_less_of_it_is_a_loss(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    path = write_run(tmp_path / "k4", 4)
    (samples,) = path.parent.glob("*_samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    lines[4]["exact_match"] = 0.9
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    (question,) = changed(tmp_path)["questions"]

    assert (question["k"], question["v"], question["w"]) == ("4", [1, 0.9], "-l")


def test_questions_that_are_not_shown_are_counted(tmp_path: Path) -> None:
    write_pair(tmp_path)
    write_run(tmp_path / "k2", 2, wrong_every(4, "yet another"))

    found = changed(tmp_path, 1)

    assert [point["shown"] for point in found["series"][0]["points"][1:]] == [
        {"lost": 1, "gained": 1, "same": 1}
    ] * 2
    assert [point["changed"]["lost"] for point in found["series"][0]["points"][1:]] == [8, 8]
    # The same ones at each k, so that they can be followed.
    assert sorted(one["w"] for one in found["questions"]) == ["-gg", "-ll", "-ss"]


def test_a_question_that_was_not_answered_comes_with_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    path = write_run(tmp_path / "k4", 4, lambda n, one: "" if n == 7 else one["answers"][0])
    unanswered = {"document": 7, "question_id": 7, "reason": "its image cannot be read"}
    edit_json(path, in_provenance("unanswered", [unanswered]))
    edit_json(path, in_provenance("n_unanswered", 1))

    found = changed(tmp_path)

    (question,) = found["questions"]
    assert {place: found["texts"][n] for place, n in question["u"].items()} == {
        "1": "its image cannot be read"
    }
    assert [point["unanswered"] for point in found["series"][0]["points"]] == [0, 1]
    assert "k=4: 1 of 40 questions could not be put to the model, and count as answered with " in (
        " ".join(computed(tmp_path).notes)
    )


def test_a_request_that_failed_comes_with_its_message(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(
        tmp_path / "k4", 4, lambda n, one: "[GENERATION_FAILED]" if n == 7 else one["answers"][0]
    )

    found = changed(tmp_path)

    (question,) = found["questions"]
    assert found["texts"][question["u"]["1"]] == "[GENERATION_FAILED]"


def test_questions_about_one_image_share_its_picture(tmp_path: Path) -> None:
    write_pair(tmp_path)

    found = changed(tmp_path)

    images = {one["image_id"] for one in records(40) if one["question_id"] % 2 == 0}
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

    found = changed(tmp_path)

    assert found["series"] == []
    assert len(found["missing"]) == 1
