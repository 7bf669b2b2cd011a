"""Launchers: every point comes to an end, whatever happens to its worker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.sweep.child import ChildWork
from moe_eval_plugin.sweep.launch import LocalLauncher, Outcome, make_launcher
from moe_eval_plugin.sweep.plan import Point, SweepPlan

if TYPE_CHECKING:
    from moe_eval_plugin.sweep.launch import Launcher

POINTS = [Point(f"k{k}", str(k)) for k in (8, 4, 1)]
SLOW = 120


@dataclass(frozen=True)
class Work:
    """Leaves a file for a point; kills its own process the first ``n_deaths`` times at k4."""

    folder: Path
    n_deaths: int = 0

    def __call__(self, point: Point) -> Path:
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
    return make_launcher(name, 0, folder, options.get(name, {}))


def ends(name: str, folder: Path, n_deaths: int = 0) -> tuple[dict[str, Outcome], list[str]]:
    """Run the points; return their outcomes, and for which of them work was begun."""
    begun: list[str] = []
    work = Work(folder, n_deaths)
    outcomes = launcher(name, folder).run(POINTS, work, lambda point: begun.append(point.name))
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


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_launcher_without_its_package_says_how_to_install_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin.sweep.launch.find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=rf"moe-eval-plugin\[{name}\]"):
        make_launcher(name, 0, tmp_path, {})


def test_a_child_that_fails_tells_with_the_last_lines_of_its_output(tmp_path: Path) -> None:
    plan = SweepPlan("moe_hf", "pretrained=/no/such/folder", ("easy_vqa",), ())
    (outcome,) = LocalLauncher().run([POINTS[0]], ChildWork(plan, tmp_path), lambda _: None)
    assert outcome.results is None
    assert "lmms-eval ended with 2" in str(outcome.reason)
    assert "pretrained=/no/such/folder" in str(outcome.reason)
    assert str(tmp_path / "logs" / "k8.log") in str(outcome.reason)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        f"time.sleep({SLOW})\n"
    )
    told = tmp_path / "pid"
    starter = (
        "import os, subprocess, sys; subprocess.run([sys.executable, '-m', "
        f"'moe_eval_plugin.sweep.mortal', str(os.getpid()), 'sleeper', {str(told)!r}])"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", starter], env={**os.environ, "PYTHONPATH": path}
    )
    end = time.monotonic() + SLOW / 2
    while time.monotonic() < end and not (told.is_file() and told.read_text()):
        time.sleep(0.05)
    child = int(told.read_text())
    parent.kill()
    parent.wait()
    while time.monotonic() < end and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
