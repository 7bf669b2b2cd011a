"""What a sweep prints at its end, by the state of its manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.sweep_progress import SweepProgress
from tests.sweep.sweep_folders import PLAN, open_it, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_interrupted_sweep_says_how_many_answers_are_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    manifest = open_it(tmp_path)
    progress = SweepProgress(PLAN, manifest, 450, as_json=False)
    progress.answered(16)
    progress.close()
    assert progress.interrupted() == 130
    printed = capsys.readouterr().err
    assert "Interrupted. 466 of 900 answers are saved; run the same command to continue." in printed


def test_a_finished_sweep_names_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest)
    for name, seconds in (("k8", 100.4), ("k4", 24.8)):
        manifest.change(name, replace(manifest.entry(name), seconds=seconds))
    progress = SweepProgress(PLAN, manifest, 2000, as_json=False)
    progress.close()
    assert progress.finish() == 0
    said = f"Done: 2 settings, 4,000 answers in 2 min 5 s. Next: moe-eval report {tmp_path} --open"
    assert said in capsys.readouterr().out


def test_a_failed_point_is_named_and_fails_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    progress = SweepProgress(PLAN, manifest, 4, as_json=False)
    progress.close()
    assert progress.finish() == 1
    printed = capsys.readouterr()
    assert "Failed: k4. Run the same command to try again." in printed.err
    assert "Done" not in printed.out
