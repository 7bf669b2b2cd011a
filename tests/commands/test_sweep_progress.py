"""What a sweep prints at its end, by the state of its manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.api.sweeping.ready import SweepResult
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.sweep_progress import SweepProgress
from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.runner import run_points
from tests.sweeps.sweep_folders import PLAN, open_it, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPoint


def begun(manifest: Manifest, n_questions: int) -> SweepProgress:
    progress = SweepProgress(as_json=False, status=Status())
    for results in manifest.folder.glob("*/1_results.json"):
        results.unlink()  # they are no results files, and have no rows
    progress.begin(PLAN, manifest, {"easy_vqa": n_questions})
    return progress


def result(manifest: Manifest, n_questions: int, *, is_timed: bool = True) -> SweepResult:
    return SweepResult(manifest, tuple(p.name for p in PLAN.points), n_questions, is_timed)


def test_an_interrupted_sweep_says_how_many_answers_are_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    manifest = open_it(tmp_path)
    progress = begun(manifest, 450)
    progress.answered(16)
    progress.close()
    assert progress.interrupted() == 130
    printed = capsys.readouterr().err
    kept = f"466 of 900 answers are saved in {tmp_path}; run the same command to continue."
    assert f"Interrupted. {kept}\n" in printed
    # With lm-eval a setting has no journal.
    manifest.settings = {**manifest.settings, "host": "lm-eval"}
    progress.interrupted()
    assert "Interrupted. 450 of 900 answers" in capsys.readouterr().err


def test_a_finished_sweep_names_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest)
    for name, seconds in (("k8", 100.4), ("k4", 24.8)):
        manifest.change(name, replace(manifest.entry(name), seconds=seconds))
    progress = begun(manifest, 2000)
    progress.close()
    manifest.add_warnings(["easy_vqa: 12 of 20 questions are used."])
    assert progress.finish(result(manifest, 2000)) == 0
    printed = capsys.readouterr().out
    assert "Warning: easy_vqa: 12 of 20 questions are used.\n" in printed
    done = "Done: 2 settings, 4,000 answers in 2 min 5 s."
    ending = f"{done} Results: {tmp_path} Next: moe-eval report {tmp_path} --open"
    # Long commands are continued on the next line.
    assert ending in " ".join(printed.replace("\\\n", " ").split())


def test_a_failed_point_is_named_and_fails_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    progress = begun(manifest, 4)
    progress.close()
    assert progress.finish(result(manifest, 4)) == 1
    printed = capsys.readouterr()
    assert "Failed: k=4. Run the same command to try again." in printed.err
    assert "Done" not in printed.out


def test_a_failed_timed_pass_is_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest)
    progress = begun(manifest, 4)
    progress.close()
    assert progress.finish(result(manifest, 4, is_timed=False)) == 1
    printed = capsys.readouterr()
    assert "Failed: the timed pass. All answers are saved.\nRun the same command" in printed.err
    assert f"moe-eval report {tmp_path} --open" in printed.err
    assert "Done" not in printed.out


def test_a_resumed_sweep_says_what_was_done_and_what_it_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    manifest = open_it(tmp_path)
    progress = begun(manifest, 450)

    def work(point: SweepPoint) -> Path:
        seen = VerifiedOverride(4, 8, 4.0, 2, 10, 0, "4")
        progress.verified({"easy_vqa": seen, "okvqa": seen})
        raise OSError(point.name)

    for outcome in run_points(PLAN, manifest, LocalLauncher(), work, begins=progress.begin_setting):
        progress.end_setting(outcome)
    progress.close()
    printed = capsys.readouterr()
    assert "1 of 2 settings were done already.\n" in printed.err
    assert printed.err.count("k=4 verified: 4 experts in 2 of 2 layers\n") == 1
    assert "k=4: failed. OSError: k4" in printed.err


def test_a_sweep_interrupted_in_its_timed_pass_has_all_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest)
    progress = begun(manifest, 450)
    progress.begin_timing()
    progress.close()
    assert progress.interrupted() == 130
    assert "All answers and all timed blocks are saved" in capsys.readouterr().err
