"""The manifest: what is kept, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.sweeps.manifest import MANIFEST, differences, load_manifest, locked
from tests.sweeps.sweep_folders import SETTINGS, open_it, run_all

if TYPE_CHECKING:
    from pathlib import Path


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    read = load_manifest(tmp_path)
    assert read is not None
    assert read.to_dict() == manifest.to_dict()
    assert list(read.entries) == ["k8", "k4"]
    assert read.entry("k8").results == "k8/1_results.json"
    assert read.entry("k4").reason == "OSError: the machine is on fire"
    assert read.results_path("k4") is None


def test_a_manifest_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    open_it(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(DataError, match="schema version 9"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 1, "kind": "sweep"}', "null"])
def test_a_broken_manifest_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match="another folder"):
        load_manifest(tmp_path)


def test_a_crash_while_writing_leaves_the_manifest_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = open_it(tmp_path)
    before = (tmp_path / MANIFEST).read_text()

    def full(*_: object) -> None:
        message = "No space left on device"
        raise OSError(28, message)

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(DataError, match="No space left"):
        manifest.change("k8", manifest.entry("k8").begin())
    assert (tmp_path / MANIFEST).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(locked(tmp_path))
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            stack.enter_context(locked(tmp_path))
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_differences_name_what_was_and_what_is() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == [
        "a: 1 -> None",
        "b: 2 -> 3",
        "c: None -> 4",
    ]
    assert json.dumps(differences(SETTINGS, dict(SETTINGS))) == "[]"
