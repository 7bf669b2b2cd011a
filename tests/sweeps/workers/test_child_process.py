from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker
from tests.sweeps.sweeps import TWO_POINTS

if TYPE_CHECKING:
    from pathlib import Path


def test_a_child_that_fails_tells_with_the_last_lines_of_its_output(tmp_path: Path) -> None:
    plan = SweepPlan("moe_hf", "pretrained=/no/such/folder", ("easy_vqa",), ())
    run = LocalLauncher().run(TWO_POINTS, ChildProcessWorker(plan, tmp_path), lambda _: None)
    with pytest.raises(UserError, match="lmms-eval ended with 2") as refused:
        next(run)
    assert "Cannot find /no/such/folder" in str(refused.value)
    assert str(tmp_path / "logs" / "k8.log") in str(refused.value)


def test_several_processes_of_lm_eval_on_a_cpu_would_each_answer_all(tmp_path: Path) -> None:
    plan = SweepPlan("moe_hf", "", ("a",), (), host="lm-eval", device="cpu")
    run = LocalLauncher().run(TWO_POINTS, ChildProcessWorker(plan, tmp_path, 2), lambda _: None)
    with pytest.raises(InvalidArgumentError, match="on CPUs, each process of lm-eval answers all"):
        next(run)
