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

from moe_eval_plugin.errors import (
    CheckpointMismatchError,
    DataError,
    InvalidExpertCountError,
    MissingDependencyError,
    UserError,
)
from moe_eval_plugin.sweeps.launchers.choose import LaunchOptions, make_launcher
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher, attempt
from moe_eval_plugin.sweeps.workers.failures import PointRefusedError
from tests.sweeps.sweeps import TWO_POINTS

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.sweeps.launchers.launcher import Launcher, Outcome, Worker
    from moe_eval_plugin.sweeps.plan import SweepPoint


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


def failing(error: Exception) -> Worker:
    def worker(_: SweepPoint) -> Path:
        raise error

    return worker


@pytest.mark.parametrize("kind", [CheckpointMismatchError, MissingDependencyError, DataError])
def test_an_error_that_every_point_would_meet_ends_the_sweep(kind: type[UserError]) -> None:
    begun: list[str] = []
    run = LocalLauncher().run(TWO_POINTS, failing(kind("weights")), lambda p: begun.append(p.name))
    with pytest.raises(kind):
        list(run)
    assert begun == ["k8"]


def test_a_first_point_that_the_host_refuses_ends_the_sweep_and_a_later_one_does_not() -> None:
    worker = failing(PointRefusedError("lmms-eval ended with 2: no such option"))
    with pytest.raises(UserError, match="no such option"):
        list(LocalLauncher().run(TWO_POINTS, worker, lambda _: None))
    assert attempt(TWO_POINTS[0], worker).reason == "lmms-eval ended with 2: no such option"


def test_a_k_that_one_point_cannot_have_does_not_stop_the_others() -> None:
    worker = failing(InvalidExpertCountError("too many"))
    outcomes = list(LocalLauncher().run(TWO_POINTS, worker, lambda _: None))
    assert [one.reason for one in outcomes] == ["InvalidExpertCountError: too many"] * 3
