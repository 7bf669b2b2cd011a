from __future__ import annotations

from typing import TYPE_CHECKING

import datasets
from PIL import Image

from moe_eval_plugin.report.questions.thumbnails import (
    LONGEST_SIDE,
    LONGEST_SIDE_LATER,
    Album,
    ImageSource,
    find_images,
)
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE
from tests.report.questions.changed_runs import picture
from tests.report.report_runs import TASK, records, write_run
from tests.vqa.vqa_files import edit_json, write_official

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


def test_pictures_become_small_when_half_of_the_budget_is_used_up(tmp_path: Path) -> None:
    questions = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.effect_noise((500, 300), 80).save(path)
        questions.append({**records(1)[0], "image": str(path)})
    source = ImageSource({str(number): one for number, one in enumerate(questions)})  # type: ignore[misc]
    album = Album(budget_bytes=150_000)

    for number, one in enumerate(questions):
        album.add(source, str(number), one["question"])

    sides = [max(picture(url).size) for url in album.pictures]
    assert sides[0] == LONGEST_SIDE
    assert sides[-1] == LONGEST_SIDE_LATER
    assert sides == sorted(sides, reverse=True)


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
    assert picture(album.pictures[0]).size == (300, 200)
    assert album.add(found, "0", "Another question?") is None
