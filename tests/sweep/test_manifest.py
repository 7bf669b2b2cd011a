"""The manifest: what is kept, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.sweep.launch import LocalLauncher
from moe_eval_plugin.sweep.manifest import MANIFEST, Manifest, differences, load_manifest, locked
from moe_eval_plugin.sweep.plan import Point, SweepPlan
from moe_eval_plugin.sweep.run import open_manifest, pending, run_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETTINGS = {"limit": 4, "version of torch": "2"}
POINTS = (Point("k8", "8", is_baseline=True), Point("k4", "4"))
PLAN = SweepPlan("moe_hf", "", ("easy_vqa",), POINTS)


def write_results(folder: Path, point: Point) -> Path:
    path = folder / point.name / "1_results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{{}} {point.name}")
    return path


def run_all(folder: Path, manifest: Manifest, fails: Sequence[str] = ()) -> list[str]:
    """Run what is pending, and return the names of the points that were worked on."""
    worked: list[str] = []

    def work(point: Point) -> Path:
        worked.append(point.name)
        assert load_manifest(folder).entry(point.name).state == "running"  # type: ignore[union-attr]
        if point.name in fails:
            message = "the machine is on fire"
            raise OSError(message)
        return write_results(folder, point)

    list(run_points(PLAN, manifest, LocalLauncher(), work))
    return worked


def open_it(
    folder: Path, settings: dict[str, object] | None = None, *, restart: bool = False
) -> Manifest:
    return open_manifest(folder, PLAN, settings or SETTINGS, restart=restart)


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


def test_what_is_done_is_not_done_again_and_what_failed_is(tmp_path: Path) -> None:
    assert run_all(tmp_path, open_it(tmp_path), fails=["k4"]) == ["k8", "k4"]
    manifest = open_it(tmp_path)
    assert [point.name for point in pending(PLAN, manifest)] == ["k4"]
    assert run_all(tmp_path, manifest) == ["k4"]
    assert manifest.entry("k4").n_attempts == 2
    assert run_all(tmp_path, open_it(tmp_path)) == []


def test_a_point_whose_results_were_deleted_is_made_again(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path))
    (tmp_path / "k4" / "1_results.json").unlink()
    assert run_all(tmp_path, open_it(tmp_path)) == ["k4"]


def test_a_point_that_was_running_when_the_process_died_is_pending(tmp_path: Path) -> None:
    manifest = open_it(tmp_path)
    manifest.change("k8", manifest.entry("k8").begin())
    (tmp_path / "k8").mkdir()
    (tmp_path / "k8" / "0_results.json").write_text("half of")
    manifest = open_it(tmp_path)
    assert manifest.entry("k8").state == "pending"
    run_all(tmp_path, manifest)
    assert [path.name for path in (tmp_path / "k8").iterdir()] == ["1_results.json"]
    assert manifest.entry("k8").n_attempts == 2


def test_results_of_other_settings_are_refused_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    run_all(folder, open_it(folder))
    changed = {**SETTINGS, "limit": 8}
    with pytest.raises(UserError, match=r"limit: 4 -> 8\n.*--restart"):
        open_it(folder, changed)
    assert (folder / "k8" / "1_results.json").is_file()
    manifest = open_it(folder, changed, restart=True)
    assert run_all(folder, manifest) == ["k8", "k4"]
    (aside,) = (tmp_path / "sweep.stale").iterdir()
    assert (aside / "k8" / "1_results.json").is_file()
    assert load_manifest(aside).settings == SETTINGS  # type: ignore[union-attr]


def test_restart_keeps_what_fits(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path))
    assert run_all(tmp_path, open_it(tmp_path, restart=True)) == []


def test_a_point_of_the_same_name_with_another_seed_is_refused(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path))
    plan = replace(PLAN, points=tuple(replace(point, seed=1) for point in POINTS))
    with pytest.raises(UserError, match=r"k8: .*'seed': None.* -> .*'seed': 1"):
        open_manifest(tmp_path, plan, SETTINGS, restart=False)


def test_settings_may_change_while_nothing_is_done(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path), fails=["k8", "k4"])
    manifest = open_it(tmp_path, {**SETTINGS, "limit": 8})
    assert manifest.settings["limit"] == 8
    assert [entry.state for entry in manifest.entries.values()] == ["pending", "pending"]


def test_a_folder_that_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "k8").mkdir()
    with pytest.raises(UserError, match="it is not known what it is"):
        open_it(tmp_path)


def test_a_manifest_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    open_it(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(DataError, match="version 9 of its form"):
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
