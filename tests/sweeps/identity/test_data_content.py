"""The content of the data of a sweep: the same names may hold other pictures."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pytest
from PIL import Image

from moe_eval_plugin import files
from moe_eval_plugin.sweeps.identity import data_content
from moe_eval_plugin.sweeps.identity.data_content import DATA, DataContent

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(folder / f"{number}.bmp")
    return [{"question": f"q{n}", "image": str(folder / f"{n}.bmp")} for n in range(3)]


def digest(rows: Any, limit: int | None = None) -> str:
    return DataContent().digest(rows, limit)


def test_other_pictures_under_the_same_names_are_other_data(rows: Rows) -> None:
    before = digest(rows)
    one, two = (row["image"] for row in rows[:2])
    Image.new("RGB", (2, 2), (0, 9, 0)).save(one)
    assert digest(rows) != before
    assert digest(rows[1:]) == digest(rows[1:])
    assert digest(rows, limit=2) != digest(rows)
    shutil.copy2(two, one)
    assert digest(rows) != before


def test_a_copy_with_the_same_content_is_the_same_data(rows: Rows, tmp_path: Path) -> None:
    before = digest(rows)
    shutil.copytree(tmp_path / "pictures", tmp_path / "copy")
    copied = [{**row, "image": row["image"].replace("pictures", "copy")} for row in rows]
    assert digest(copied) == before
    os.utime(rows[0]["image"], ns=(0, 0))
    assert digest(rows) == before


def test_a_picture_is_read_once_while_it_is_as_it_was(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return files.sha256_of(path)

    monkeypatch.setattr(data_content, "sha256_of", counted)
    first = DataContent.load(tmp_path)
    before = first.digest(rows * 2, None)
    first.save(tmp_path)
    assert read == ["0.bmp", "1.bmp", "2.bmp"]
    again = DataContent.load(tmp_path)
    assert again.digest(rows * 2, None) == before
    assert len(read) == 3
    assert again.changed() == []


def test_pictures_that_changed_names_are_found_whatever_their_times(
    rows: Rows, tmp_path: Path
) -> None:
    for row in rows:
        os.utime(row["image"], ns=(5, 5))  # as after one fast copy
    first = DataContent()
    before = first.digest(rows, None)
    first.save(tmp_path)
    one, two = (row["image"] for row in rows[:2])
    os.rename(one, f"{one}.x")  # noqa: PTH104
    os.rename(two, one)  # noqa: PTH104
    os.rename(f"{one}.x", two)  # noqa: PTH104
    again = DataContent.load(tmp_path)
    assert again.digest(rows, None) != before
    assert again.changed() == [one, two]


def test_a_change_while_the_sweep_runs_is_seen(rows: Rows) -> None:
    data = DataContent()
    data.digest(rows, None)
    os.utime(rows[0]["image"])
    assert data.changed_since() == []
    Image.new("RGB", (2, 2), (5, 5, 5)).save(rows[1]["image"])
    os.unlink(rows[2]["image"])  # noqa: PTH108
    assert data.changed_since() == [row["image"] for row in rows[1:]]


def test_pictures_inside_a_data_set_count_without_being_decoded(rows: Rows) -> None:
    def table(bytes_of_first: bytes) -> datasets.Dataset:
        images = [{"bytes": bytes_of_first, "path": "a.jpg"}, {"bytes": None, "path": path}]
        found = [{"image": image, "answers": ["a", "b"]} for image in images]
        return datasets.Dataset.from_list(found, features=features)

    path = rows[1]["image"]
    features = datasets.Features(
        {"image": datasets.Image(), "answers": datasets.List(datasets.Value("string"))}
    )
    before = digest(table(b"no picture"))
    assert digest(table(b"no picture")) == before
    assert digest(table(b"another one")) != before
    Image.new("RGB", (2, 2), (7, 7, 7)).save(path)
    assert digest(table(b"no picture")) != before


def test_documents_in_memory_count_by_their_content() -> None:
    red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    found = [
        digest([{"image": red}]),
        digest([{"image": blue}]),
        digest([{"sound": np.zeros(3)}]),
        digest([{"sound": np.ones(3)}]),
        digest([{"text": "a/b"}]),
        digest([{"text": None, "n": 1.5, "of": {"a": (True,)}}]),
    ]
    assert len(set(found)) == len(found)
    assert digest([{"other": object()}]) == digest([{"other": object()}])


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 2}', '{"schema_version": 1}', "x"])
def test_what_is_known_may_be_unreadable(rows: Rows, tmp_path: Path, text: str) -> None:
    (tmp_path / DATA).write_text(text)
    assert DataContent.load(tmp_path).digest(rows, None) == digest(rows)
