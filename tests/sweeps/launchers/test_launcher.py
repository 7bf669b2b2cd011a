"""Launchers: every point comes to an end, whatever happens to its worker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass, field
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
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.workers.failures import PointRefusedError
from tests.sweeps.sweeps import TWO_POINTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweeps.launchers.launcher import Launcher, Outcome, Worker


@dataclass(frozen=True)
class Work:
    """Leaves a file for a point; kills its own process the first times, as often as it is told."""

    folder: Path
    n_deaths: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, point: SweepPoint) -> Path:
        tries = self.folder / f"{point.name}.tries"
        with tries.open("a") as file:
            file.write("x")
        if len(tries.read_text()) <= self.n_deaths.get(point.name, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if point.experts_k == "1":
            message = "no such expert"
            raise ValueError(message)
        path = self.folder / f"{point.name}.json"
        path.write_text("{}")
        return path


@dataclass(frozen=True)
class Ended:
    """How four points ended, and for which of them work was begun."""

    folder: Path
    outcomes: Mapping[str, Outcome]
    begun: Sequence[str]


def launcher(name: str, folder: Path) -> Launcher:
    if name != "local" and importlib.util.find_spec({"slurm": "submitit"}.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")
    # Workers cannot import this file, so what it holds is sent to them.
    if name != "local":
        pickler = importlib.import_module({"ray": "ray.cloudpickle"}.get(name, "cloudpickle"))
        pickler.register_pickle_by_value(sys.modules[__name__])
    options = {"ray": {"num_cpus": "2"}, "slurm": {"cluster": "local", "timeout_min": "5"}}
    return make_launcher(LaunchOptions(name, launcher_options=options.get(name, {})), folder)


def ends(name: str, folder: Path, n_deaths: Mapping[str, int]) -> Ended:
    begun: list[str] = []
    points = [*TWO_POINTS, SweepPoint("k2", "2")]
    run = launcher(name, folder).run(
        points, Work(folder, n_deaths), lambda point: begun.append(point.name)
    )
    return Ended(folder, {outcome.point.name: outcome for outcome in run}, begun)


@pytest.fixture(scope="module", params=["ray", "slurm"])
def with_deaths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """How points ended of which the worker of k4 was killed once, and that of k2 each time."""
    name = request.param
    return ends(name, tmp_path_factory.mktemp(name), {"k4": 1, "k2": 9})


def has_its_file(ended: Ended, name: str) -> bool:
    found = ended.outcomes[name]
    return (found.results, found.reason) == (ended.folder / f"{name}.json", None)


def test_each_point_ends_here_with_a_file_or_a_reason(tmp_path: Path) -> None:
    ended = ends("local", tmp_path, {})
    assert ended.begun == ["k8", "k4", "k1", "k2"]
    assert all(has_its_file(ended, name) for name in ("k8", "k4", "k2"))
    failed = ended.outcomes["k1"]
    assert (failed.results, failed.reason) == (None, "ValueError: no such expert")


def test_each_point_ends_elsewhere_with_a_file_or_a_reason(with_deaths: Ended) -> None:
    assert sorted(with_deaths.outcomes) == ["k1", "k2", "k4", "k8"]
    assert (with_deaths.begun.count("k8"), with_deaths.begun.count("k1")) == (1, 1)
    assert has_its_file(with_deaths, "k8")
    failed = with_deaths.outcomes["k1"]
    assert (failed.results, failed.reason) == (None, "ValueError: no such expert")


def test_a_point_whose_worker_was_killed_is_tried_once_more(with_deaths: Ended) -> None:
    assert has_its_file(with_deaths, "k4")
    assert with_deaths.begun.count("k4") == 2


def test_a_point_whose_worker_is_killed_again_has_failed(with_deaths: Ended) -> None:
    failed = with_deaths.outcomes["k2"]
    assert failed.results is None
    assert str(failed.reason).endswith("2 times")
    assert with_deaths.begun.count("k2") == 2


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
