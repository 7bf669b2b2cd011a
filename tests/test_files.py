from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import write_files
from tests.results.run_files import tree

NAMES = st.text("abc.", min_size=1, max_size=4).filter(lambda name: name.strip("."))


@given(st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    paths = write_files(files, folder / "new")
    assert paths == [folder / "new" / name for name in files]
    assert [path.read_bytes().decode("utf-8") for path in paths] == list(files.values())
    assert {path.name for path in (folder / "new").iterdir()} == set(files)


def test_a_name_may_lead_into_folders(tmp_path: Path) -> None:
    write_files({"a/b/c.txt": "1", "a/d.txt": "2"}, tmp_path)
    assert tree(tmp_path) == {"a": None, "a/b": None, "a/b/c.txt": "1", "a/d.txt": "2"}


@pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/absolute.txt", "", "."])
def test_a_name_never_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="not inside the folder"):
        write_files({"good.txt": "1", name: "2"}, tmp_path / "out")
    assert tree(tmp_path) == {}


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidArgumentError, match="--force") as caught:
        write_files({"new.txt": "1", "old.txt": "2"}, tmp_path)
    assert str(tmp_path / "old.txt") in str(caught.value)
    assert tree(tmp_path) == {"old.txt": "mine"}
    write_files({"new.txt": "1", "old.txt": "2"}, tmp_path, force=True)
    assert tree(tmp_path) == {"new.txt": "1", "old.txt": "2"}


def test_text_that_is_not_unicode_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bad\.txt cannot be written as UTF-8"):
        write_files({"good.txt": "1", "bad.txt": "\ud800"}, tmp_path / "out")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("last", ["taken", "old.txt/below.txt"])
def test_a_file_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, last: str) -> None:
    (tmp_path / "old.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    before = tree(tmp_path)
    with pytest.raises(DataError, match="Nothing was written"):
        write_files({"old.txt": "1", "deep/new.txt": "2", last: "3"}, tmp_path, force=True)
    assert tree(tmp_path) == before


def test_a_disk_that_fills_up_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.txt").write_text("mine", encoding="utf-8")
    moved = []
    move = os.replace

    def fill_up(self: Path, target: Path) -> None:
        if moved:
            raise OSError(28, "No space left on device")
        moved.append(target)
        move(self, target)

    monkeypatch.setattr(Path, "replace", fill_up)
    with pytest.raises(DataError, match="No space left"):
        write_files({"old.txt": "1", "new/new.txt": "2"}, tmp_path, force=True)
    assert moved == [tmp_path / "old.txt"]
    assert tree(tmp_path) == {"old.txt": "mine"}


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="Name another folder with --output"):
        write_files({"a.txt": "1"}, tmp_path / "file" / "out")
    assert tree(tmp_path) == {"file": ""}
