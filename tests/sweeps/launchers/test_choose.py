from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.sweeps.launchers.choose import LaunchOptions, launching, make_launcher
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker

if TYPE_CHECKING:
    from pathlib import Path

PLAN = SweepPlan("moe_hf", "pretrained=demo", ("easy_vqa",), ())


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_launcher_without_its_package_says_how_to_install_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin.sweeps.launchers.choose.find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=rf"moe-eval-plugin\[{name}\]"):
        make_launcher(LaunchOptions(name), tmp_path)


def test_only_a_local_sweep_of_moe_hf_keeps_its_model_in_memory() -> None:
    assert LaunchOptions().is_resident(PLAN)
    assert not LaunchOptions().is_resident(replace(PLAN, model="moe_vllm"))
    assert not LaunchOptions().is_resident(replace(PLAN, model="moe_hf-multimodal"))
    assert LaunchOptions().is_resident(replace(PLAN, model="moe_hf-multimodal", host="lm-eval"))
    assert not LaunchOptions("ray").is_resident(PLAN)
    assert not LaunchOptions(separate=True).is_resident(PLAN)
    assert not LaunchOptions(processes_per_point=2).is_resident(PLAN)


@pytest.mark.parametrize(
    ("options", "n_processes"),
    [(LaunchOptions(separate=True), 1), (LaunchOptions(processes_per_point=2), 2)],
)
def test_a_point_may_have_a_process_of_its_own_or_several(
    options: LaunchOptions, n_processes: int, tmp_path: Path
) -> None:
    """What the results of such points are is checked where the commands are."""
    checked = SimpleNamespace(plan=PLAN)
    with launching(options, checked, None, tmp_path, {}, None) as (launcher, worker):  # type: ignore[arg-type]
        assert isinstance(launcher, LocalLauncher)
        assert worker == ChildProcessWorker(PLAN, tmp_path, n_processes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"processes_per_point": 0}, "--processes-per-point 0 is not possible"),
        ({"input_cache_gib": -1.0}, "--input-cache-gib -1.0 is not possible"),
    ],
)
def test_numbers_below_zero_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        LaunchOptions(**options)  # type: ignore[arg-type]
