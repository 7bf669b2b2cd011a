from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.runner import open_manifest, pending, run_points
from tests.sweeps.sweep_folders import PLAN, POINTS, SETTINGS, open_it, run_all, write_results

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.sweeps.plan import SweepPoint


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
    with pytest.raises(UserError, match="it may hold something else"):
        open_it(tmp_path)


def test_a_setting_that_was_not_recorded_is_not_compared(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path))
    now = {**SETTINGS, "task easy_vqa: data": "abc"}
    manifest = open_it(tmp_path, now)
    assert pending(PLAN, manifest) == []
    assert manifest.settings == SETTINGS


def test_a_refusal_names_a_file_of_the_data_that_changed(tmp_path: Path) -> None:
    run_all(tmp_path, open_it(tmp_path, {**SETTINGS, "task easy_vqa: data": "abc"}))
    now = {**SETTINGS, "task easy_vqa: data": "def"}
    with pytest.raises(UserError, match=r"data: abc -> def\n  files.*content: 2, the first: a.png"):
        open_manifest(tmp_path, PLAN, now, restart=False, changed_files=["a.png", "b.png"])


def test_a_point_during_which_the_data_changed_has_failed(tmp_path: Path) -> None:
    manifest = open_it(tmp_path)
    changes = iter([[], ["a.png"]])

    def work(point: SweepPoint) -> Path:
        return write_results(tmp_path, point)

    first, second = run_points(PLAN, manifest, LocalLauncher(), work, lambda: next(changes))
    assert first.reason is None
    assert "while the sweep ran" in str(second.reason)
    assert "a.png" in str(second.reason)
    assert manifest.entry(second.point.name).state == "failed"


def test_an_error_of_all_points_is_raised_and_recorded_once(tmp_path: Path) -> None:
    manifest = open_it(tmp_path)

    def work(_: SweepPoint) -> Path:
        message = "the device is not there"
        raise InvalidArgumentError(message)

    with pytest.raises(InvalidArgumentError):
        list(run_points(PLAN, manifest, LocalLauncher(), work))
    stored = load_manifest(tmp_path)
    assert stored is not None
    assert [entry.state for entry in stored.entries.values()] == ["failed", "pending"]
    assert stored.entry("k8").reason == "the device is not there"
