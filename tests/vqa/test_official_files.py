from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.vqa.official_data import (
    load_official,
)
from tests.vqa.vqa_files import (
    ANNOTATIONS,
    QUESTIONS,
    fails,
    write_official,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_files_are_found_two_folders_deep(tmp_path: Path, below: str) -> None:
    write_official(tmp_path / below)
    assert len(load_official("okvqa", tmp_path).records) == 3


def test_files_three_folders_deep_are_not_searched(tmp_path: Path) -> None:
    write_official(tmp_path / "a" / "b" / "c")
    assert "nor up to 2 folders below" in fails(tmp_path)


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS, "val2014"])
def test_a_missing_file_is_named_with_what_was_expected(official_folder: Path, name: str) -> None:
    (official_folder / name).rename(official_folder / "other")
    message = fails(official_folder)
    assert message.startswith(f"{name} was found neither in {official_folder}")
    assert "COCO_val2014_000000000042.jpg" in message
    assert "okvqa.allenai.org" in message
    assert "MOE_EVAL_DATA" in message


def test_two_files_of_one_name_are_both_named(official_folder: Path) -> None:
    write_official(official_folder / "again")
    message = fails(official_folder)
    assert f"{official_folder / QUESTIONS} and {official_folder / 'again' / QUESTIONS}" in message


def test_one_file_by_two_ways_is_one(official_folder: Path) -> None:
    (official_folder / "again").mkdir()
    (official_folder / "again" / QUESTIONS).symlink_to(official_folder / QUESTIONS)
    assert len(load_official("okvqa", official_folder).records) == 3


def test_a_file_in_the_place_of_the_images(tmp_path: Path) -> None:
    write_official(tmp_path, image_ids=())
    write_official(tmp_path / "other")
    (tmp_path / "val2014").rmdir()
    (tmp_path / "val2014").write_text("")
    for path in (tmp_path / "other").glob("*.json"):
        path.replace(tmp_path / path.name)
    (tmp_path / "other" / "val2014").rename(tmp_path / "elsewhere")
    assert f"{tmp_path / 'val2014'} cannot be listed" in fails(tmp_path)


def test_an_empty_image_folder(official_folder: Path) -> None:
    for image in (official_folder / "val2014").iterdir():
        image.unlink()
    message = fails(official_folder)
    assert f"okvqa: 3 of 3 questions have no image in {official_folder / 'val2014'}" in message
    assert "STRICT" not in message
