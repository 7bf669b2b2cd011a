"""Launchers: every point comes to an end, whatever happens to its worker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import CheckpointMismatchError
from moe_eval_plugin.sweep.launchers.choose import LaunchOptions, make_launcher
from moe_eval_plugin.sweep.launchers.launcher import attempt
from tests.sweep.sweeps import TWO_POINTS

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Outcome
    from moe_eval_plugin.sweep.plan import SweepPoint


@dataclass(frozen=True)
class Work:
    """Leaves a file for a point; kills its own process the first ``n_deaths`` times at k4."""

    folder: Path
    n_deaths: int = 0

    def __call__(self, point: SweepPoint) -> Path:
        tries = self.folder / f"{point.name}.tries"
        with tries.open("a") as file:
            file.write("x")
        if point.experts_k == "4" and len(tries.read_text()) <= self.n_deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if point.experts_k == "1":
            message = "no such expert"
            raise ValueError(message)
        path = self.folder / f"{point.name}.json"
        path.write_text("{}")
        return path


def launcher(name: str, folder: Path) -> Launcher:
    if name != "local" and importlib.util.find_spec({"slurm": "submitit"}.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")
    # Workers cannot import this file, so what it holds is sent to them.
    if name != "local":
        pickler = importlib.import_module({"ray": "ray.cloudpickle"}.get(name, "cloudpickle"))
        pickler.register_pickle_by_value(sys.modules[__name__])
    options = {"ray": {"num_cpus": "2"}, "slurm": {"cluster": "local", "timeout_min": "5"}}
    return make_launcher(LaunchOptions(name, launcher_options=options.get(name, {})), folder)


def ends(name: str, folder: Path, n_deaths: int = 0) -> tuple[dict[str, Outcome], list[str]]:
    """Run the points; return their outcomes, and for which of them work was begun."""
    begun: list[str] = []
    work = Work(folder, n_deaths)
    outcomes = launcher(name, folder).run(TWO_POINTS, work, lambda point: begun.append(point.name))
    return {outcome.point.name: outcome for outcome in outcomes}, begun


@pytest.mark.parametrize("name", ["local", "ray", "slurm"])
def test_each_point_ends_with_a_file_or_a_reason(name: str, tmp_path: Path) -> None:
    found, begun = ends(name, tmp_path)
    assert sorted(found) == sorted(begun) == ["k1", "k4", "k8"]
    assert found["k8"].results == tmp_path / "k8.json"
    assert found["k4"].results == tmp_path / "k4.json"
    assert (found["k1"].results, found["k1"].reason) == (None, "ValueError: no such expert")


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_point_whose_worker_was_killed_is_tried_once_more(name: str, tmp_path: Path) -> None:
    found, begun = ends(name, tmp_path, n_deaths=1)
    assert found["k4"].results == tmp_path / "k4.json"
    assert begun.count("k4") == 2
    assert found["k8"].reason is None


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_point_whose_worker_is_killed_again_has_failed(name: str, tmp_path: Path) -> None:
    found, begun = ends(name, tmp_path, n_deaths=9)
    assert found["k4"].results is None
    assert str(found["k4"].reason).endswith("2 times")
    assert begun.count("k4") == 2
    assert found["k8"].results == tmp_path / "k8.json"


def test_a_checkpoint_that_does_not_fit_ends_the_sweep() -> None:
    def worker(_: SweepPoint) -> Path:
        message = "weights are missing"
        raise CheckpointMismatchError(message)

    with pytest.raises(CheckpointMismatchError):
        attempt(TWO_POINTS[0], worker)
