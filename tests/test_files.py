from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import (
    replacing,
    sha256_of,
    short_digest,
    write_all,
    write_files,
    write_whole,
)
from tests.results.run_files import tree

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

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
    with pytest.raises(DataError, match="not inside the output folder"):
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
    with pytest.raises(DataError, match="Choose another folder with --output"):
        write_files({"a.txt": "1"}, tmp_path / "file" / "out")
    assert tree(tmp_path) == {"file": ""}


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with replacing(path) as part:
        part.write_text("1", encoding="utf-8")
        assert part.parent == tmp_path
        assert not path.exists()
    assert tree(tmp_path) == {"a.json": "1"}

    def interrupted() -> None:
        with replacing(path) as part:
            part.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tree(tmp_path) == {"a.json": "1"}

    write_whole(path, "ü")
    assert tree(tmp_path) == {"a.json": "ü"}


def test_a_new_file_has_the_permissions_that_the_user_s_files_have(tmp_path: Path) -> None:
    write_whole(tmp_path / "written", "")
    (tmp_path / "usual").touch()
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("name", ["taken", "missing/a.txt", "file/a.txt"])
def test_a_file_that_cannot_be_put_there_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(OSError, match=name.split("/", maxsplit=1)[0]):
        write_whole(tmp_path / name, "1")
    assert tree(tmp_path) == {"taken": None, "file": "mine"}


def test_files_replace_the_old_ones_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    move = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (moved.append(b), move(a, b)))
    paths = [tmp_path / "b" / "1", tmp_path / "a"]
    write_all(dict.fromkeys(paths, b"1"), tmp_path)
    assert moved == paths
    assert tree(tmp_path) == {"b": None, "b/1": "1", "a": "1"}


def test_digests_depend_on_content_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty") == EMPTY
    assert short_digest({"a": 1, "b": 2}) == short_digest({"b": 2, "a": 1})
    assert short_digest({"a": 1}) != short_digest({"a": 2})
