"""A study is written whole or not at all, and replaces nothing but an earlier study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.routing.study_folder import PAGE, PLOTS, STUDY, check_folder, study_folder

if TYPE_CHECKING:
    from pathlib import Path

OURS = '{"kind": "routing"}'


def write_some(folder: Path, page: str) -> None:
    with study_folder(folder) as inside:
        (inside / STUDY).write_text(OURS)
        (inside / PLOTS).mkdir()
        (inside / PLOTS / f"{page}.svg").write_text("<svg/>")
        (inside / PAGE).write_text(page)


def test_a_new_and_an_empty_folder_and_a_study_can_be_written_to(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    write_some(tmp_path / "deep" / "study", "first")
    check_folder(tmp_path / "deep" / "study")

    assert (tmp_path / "deep" / "study" / PAGE).read_text() == "first"


@pytest.mark.parametrize("content", ["{}", "[1]", "not JSON", '{"kind": "sweep"}'])
def test_another_folder_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / STUDY).write_text(content)

    with pytest.raises(InvalidArgumentError, match="is not empty, and moe-eval routing did not"):
        check_folder(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidArgumentError, match="is a file"):
        check_folder(tmp_path / "file")


def test_an_earlier_study_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    write_some(tmp_path, "first")
    (tmp_path / "notes.txt").write_text("mine")

    write_some(tmp_path, "second")

    assert {path.name for path in tmp_path.iterdir()} == {STUDY, PAGE, PLOTS, "notes.txt"}
    assert [path.name for path in (tmp_path / PLOTS).iterdir()] == ["second.svg"]


def test_after_an_error_everything_is_as_it_was(tmp_path: Path) -> None:
    write_some(tmp_path, "first")

    def fail(folder: Path) -> None:
        with study_folder(folder) as inside:
            (inside / PAGE).write_text("second")
            message = "no room"
            raise OSError(message)

    with pytest.raises(DataError, match=r"cannot be written: no room\. Pass another"):
        fail(tmp_path)
    with pytest.raises(DataError):
        fail(tmp_path / "new" / "deep")

    assert (tmp_path / PAGE).read_text() == "first"
    assert {path.name for path in tmp_path.iterdir()} == {STUDY, PAGE, PLOTS}
