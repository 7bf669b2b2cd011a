from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.sweeps.launchers.choose import LaunchOptions, make_launcher
from moe_eval_plugin.sweeps.plan import SweepPlan

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
    ("options", "said"),
    [
        ({"processes_per_point": 0}, "--processes-per-point 0 is not possible"),
        ({"input_cache_gib": -1.0}, "--input-cache-gib -1.0 is not possible"),
    ],
)
def test_numbers_below_zero_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        LaunchOptions(**options)  # type: ignore[arg-type]
