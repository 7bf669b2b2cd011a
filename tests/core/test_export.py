"""Exporters: how they are found by name, and how their files are written, all or none."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.commands import export as verb
from moe_eval_plugin.errors import DataError, InvalidArgumentError, PluginLoadError
from moe_eval_plugin.export import (
    Exported,
    Exporter,
    IncompleteRunError,
    common_folder,
    find_exporter,
    render_formats,
    write_files,
)
from moe_eval_plugin.hookspecs import hookimpl
from moe_eval_plugin.plugins import ENTRY_POINT_GROUP, build_manager, registered_exporters
from moe_eval_plugin.runs import read_run
from tests.run_files import write_run
from tests.vqa_files import IMAGE_IDS, question_id, write_official

NAMES = st.text("abc.", min_size=1, max_size=4).filter(lambda name: name.strip("."))
OUR_ENTRY = EntryPoint("exporters", "moe_eval_plugin.exporters", ENTRY_POINT_GROUP)


def nothing(_runs: object, _task: object) -> Exported:
    return Exported({})


def tree(folder: Path) -> dict[str, str | None]:
    """Everything in a folder: the text of files, and ``None`` for folders."""
    return {
        str(path.relative_to(folder)): path.read_text("utf-8") if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("third_party_plugin")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def entry() -> EntryPoint:
    return EntryPoint("third", "third_party_plugin", ENTRY_POINT_GROUP)


def test_our_own_exporters_come_in_by_the_hook() -> None:
    ours = registered_exporters(build_manager([OUR_ENTRY]))
    assert {"evalai", "okvqa"} <= ours.keys()
    assert registered_exporters(build_manager([])) == {}


@pytest.mark.parametrize(
    ("call", "unwanted"),
    [
        ("plugin_manager()", ("moe_eval_plugin.exporters.submission", "moe_eval_plugin.official")),
        ("registered_exporters()", ("torch", "transformers", "lmms_eval", "datasets", "ijson")),
    ],
)
def test_plugins_and_formats_are_listed_fast(call: str, unwanted: tuple[str, ...]) -> None:
    program = (
        f"import sys; from moe_eval_plugin.plugins import *; {call}; "
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_third_party_adds_an_exporter(third_party: ModuleType) -> None:
    exporter = Exporter("mine", "a format of mine", nothing)
    third_party.moe_eval_register_exporters = hookimpl(lambda: [exporter])  # type: ignore[attr-defined]
    assert registered_exporters(build_manager([entry()])) == {"mine": exporter}


def test_a_name_that_is_there_twice_is_an_error_with_both_origins(third_party: ModuleType) -> None:
    exporter = Exporter("evalai", "another one", nothing)
    third_party.moe_eval_register_exporters = hookimpl(lambda: [exporter])  # type: ignore[attr-defined]
    with pytest.raises(PluginLoadError, match="exporter evalai is registered twice") as caught:
        registered_exporters(build_manager([OUR_ENTRY, entry()]))
    assert "exporters (moe_eval_plugin.exporters)" in str(caught.value)
    assert "third (third_party_plugin)" in str(caught.value)


def test_an_exporter_is_found_by_its_name() -> None:
    assert find_exporter("evalai").name == "evalai"


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidArgumentError, match=r"--format eval is not known.*evalai.*okvqa"):
        find_exporter("eval")


def test_formats_are_listed_with_their_summaries() -> None:
    lines = render_formats().splitlines()
    known = registered_exporters()
    assert [line.split()[0] for line in lines] == sorted(known)
    assert all(line.endswith(f"  {known[line.split()[0]].summary}") for line in lines)


def test_an_incomplete_run_keeps_all_its_faults() -> None:
    error = IncompleteRunError("some are missing", ["missing 1", "missing 2"])
    assert (str(error), error.faults) == ("some are missing", ("missing 1", "missing 2"))
    assert isinstance(error, DataError)


def test_files_lie_beside_the_run_or_in_the_folder_of_all_runs(tmp_path: Path) -> None:
    one, two = (read_run(write_run(tmp_path / "runs" / name, {})) for name in ("a", "b"))
    assert common_folder([one]) == tmp_path / "runs" / "a"
    assert common_folder([one, two]) == tmp_path / "runs"


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


def command(*arguments: object) -> int:
    """Run the verb as the command does, here."""
    parser = argparse.ArgumentParser()
    verb.add(parser.add_subparsers())
    options = parser.parse_args(["export", *map(str, arguments)])
    code: int = options.run(options)
    return code


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of okvqa with every question of a small data set answered."""
    write_official(tmp_path / "data")
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path / "data"))
    answers = [
        {"question_id": question_id(image_id), "filtered_resps": "red"} for image_id in IMAGE_IDS
    ]
    return write_run(tmp_path / "runs" / "model", {"okvqa": answers})


def submissions(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("OpenEnded*"))


def test_the_command_writes_beside_the_run_and_says_what(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--format", "okvqa", finished.parents[1]) == 0
    (name,) = submissions(finished.parent)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"wrote {finished.parent / name}"
    assert any("overall 100.00" in line for line in said[1:])


def test_the_command_writes_where_it_is_told(finished: Path, tmp_path: Path) -> None:
    arguments = ("--format", "okvqa", "--output", tmp_path / "out", "--task", "okvqa", finished)
    assert command(*arguments) == 0
    assert (submissions(finished.parent), len(submissions(tmp_path / "out"))) == ([], 1)
    with pytest.raises(InvalidArgumentError, match="--force"):
        command(*arguments)
    assert command(*arguments, "--force") == 0


def test_what_was_written_does_not_stop_the_next_export(finished: Path) -> None:
    for _ in range(2):
        assert command("--format", "okvqa", "--force", finished.parent) == 0


def test_the_command_lists_what_is_missing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = finished.parent.glob("*.jsonl")
    path.write_text(path.read_text("utf-8").splitlines(keepends=True)[0], encoding="utf-8")
    before = tree(finished.parent)
    for option, listed in (((), []), (("--list-missing",), ["missing 81", "missing 91"])):
        with pytest.raises(IncompleteRunError, match="2 questions have no answer"):
            command("--format", "okvqa", finished, *option)
        assert capsys.readouterr().out.splitlines() == listed
    assert tree(finished.parent) == before


@pytest.mark.parametrize("arguments", [["--format"], ["a-run", "--format"]])
def test_the_command_lists_the_formats(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 0
    assert capsys.readouterr().out.strip() == render_formats()


@pytest.mark.parametrize("arguments", [[], ["a-run"], ["--format", "okvqa"]])
def test_a_command_that_lacks_something_says_what_to_write(arguments: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="--format NAME RUN"):
        command(*arguments)
