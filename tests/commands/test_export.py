from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.commands import export
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.publish.exports.failures import IncompleteRunError
from moe_eval_plugin.publish.exports.formats import render_formats
from tests.results.run_files import tree, write_run
from tests.vqa.vqa_files import IMAGE_IDS, question_id, write_official

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: object) -> int:
    """Run the verb as the command does, here."""
    parser = argparse.ArgumentParser()
    export.add(parser.add_subparsers())
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


def test_the_command_writes_into_the_folder_of_the_run_and_says_what(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished.parents[1]
    assert command("--format", "okvqa", folder) == 0
    (name,) = submissions(folder)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"wrote {folder / name}"
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
