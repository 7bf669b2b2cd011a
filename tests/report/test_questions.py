"""The questions that changed: the right ones, with their own images, and never too many."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import datasets
from PIL import Image

from moe_eval_plugin.data import DATA_VARIABLE
from moe_eval_plugin.report.images import LONGEST_SIDE, Album, ImageSource, find_images
from moe_eval_plugin.report.points import read_series
from moe_eval_plugin.report.questions import changed_questions
from tests.report.report_runs import TASK, records, write_other_run, write_run, wrong_every
from tests.vqa_files import edit_json, write_official

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def changed(path: Path, most: int = 100) -> dict[str, Any]:
    return changed_questions(read_series([path]), most)


def write_pair(folder: Path) -> None:
    """At k=8 each tenth answer is wrong, and at k=4 each fourth."""
    write_run(folder / "k8", 8, wrong_every(10))
    write_run(folder / "k4", 4, wrong_every(4, "something else"))


def picture(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


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


def test_no_picture_is_shown_for_another_question_of_the_same_id() -> None:
    source = ImageSource({"3": records(4)[3]})

    album = Album()

    assert album.add(source, "3", "Is this another data set?") is None
    assert album.add(source, "3", records(4)[3]["question"]) == 0


def test_pictures_end_with_the_budget_and_what_is_left_out_is_counted() -> None:
    questions = records(60)
    source = ImageSource({str(one["question_id"]): one for one in questions})
    album = Album(budget_bytes=1500)

    numbers = [album.add(source, str(one["question_id"]), one["question"]) for one in questions]

    assert None in numbers
    assert sum(map(len, album.pictures)) <= 1500
    n_files = len({one["image"] for one in questions})
    assert album.n_left_out == n_files - len(album.pictures)


def test_an_image_that_is_gone_is_left_out(tmp_path: Path) -> None:
    record = {**records(1)[0], "image": str(tmp_path / "gone.png")}
    album = Album()

    assert album.add(ImageSource({"0": record}), "0", record["question"]) is None  # type: ignore[dict-item]
    assert album.n_left_out == 1


def test_images_of_official_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_official(tmp_path / "data", "okvqa")
    path = write_run(tmp_path / "run", 8)
    edit_json(
        path, lambda content: content["configs"][TASK].update(dataset_kwargs={"source": "okvqa"})
    )
    (series,) = read_series([path])
    run = series.points[0].first

    without = find_images(run)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    found = find_images(run)

    assert without.records == {}
    assert DATA_VARIABLE in without.reason
    assert set(found.records) == {"71", "81", "91"}


def test_the_page_says_why_there_are_no_images(tmp_path: Path) -> None:
    for k, step in ((8, 10), (4, 4)):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(step))
        edit_json(path, lambda content: content["configs"][TASK].pop("dataset_kwargs"))

    found = changed(tmp_path)

    assert found["images"] == []
    assert found["notes"] == [
        f"Shown without images: it is not known where {TASK} keeps its images."
    ]


def test_a_model_without_k_has_no_changed_questions(tmp_path: Path) -> None:
    write_other_run(tmp_path)

    assert changed(tmp_path)["series"] == []


def test_images_of_the_hub_are_found_in_the_copy_that_a_run_has_left(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    red = Image.new("RGB", (300, 200), "red")
    rows = {"question_id": ["0", "7"], "question": ["Red?", "Why?"], "image": [red, red]}
    features = datasets.Features(
        {
            "question_id": datasets.Value("string"),
            "question": datasets.Value("string"),
            "image": datasets.Image(),
        }
    )
    dataset = datasets.Dataset.from_dict(rows, features=features)
    dataset.to_parquet(tmp_path / "hub" / "data" / "val2014-00000-of-00001.parquet")
    of_the_hub = {
        "dataset_kwargs": {"source": "okvqa"},
        "dataset_path": str(tmp_path / "hub"),
        "test_split": "val2014",
    }
    path = write_run(tmp_path / "run", 8)
    edit_json(path, lambda content: content["configs"][TASK].update(of_the_hub))
    (series,) = read_series([path])

    found = find_images(series.points[0].first)

    album = Album()
    assert set(found.records) == {"0", "7"}
    assert album.add(found, "7", "Why? Answer with one word.") == 0
    assert picture(album.pictures[0]).size == (160, 107)
    assert album.add(found, "0", "Another question?") is None
