"""The bar of a notebook counts the questions of all settings, however many requests each has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.api.sweeping.notebook_progress import NotebookProgress
from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.sweeps.launchers.launcher import Outcome
from tests.sweeps.sweep_folders import PLAN, open_it, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_ends_at_the_number_of_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_it(tmp_path)
    run_all(tmp_path, manifest, fails=["k4"])
    manifest = open_it(tmp_path)
    progress = NotebookProgress()
    progress.doing("loading the weights")
    progress.begin(PLAN, manifest, {"easy_vqa": 10})
    assert (progress._bar.n, progress._bar.total) == (10, 20)  # k8 was done before
    (k4,) = [point for point in PLAN.points if point.name == "k4"]
    progress.begin_setting(k4)
    progress.verified({"easy_vqa": VerifiedOverride(4, 8, 4.0, 2, 10, 0, "4")})
    progress.answered(4)
    assert progress._bar.n == 14
    progress.answered(40)  # a question of several requests
    assert progress._bar.n == 20
    progress.end_setting(Outcome(k4, None, "OSError: no space", 1.0))
    progress.begin_timing()
    progress.fail_timing("the GPU is gone")
    progress.close()
    assert progress._bar.n == 20
    printed = capsys.readouterr()
    shown = printed.err + printed.out
    assert "k=4: failed. OSError: no space" in shown
    assert "The timed pass failed: the GPU is gone" in shown
    assert "4 experts in 2 of 2 layers" in shown
