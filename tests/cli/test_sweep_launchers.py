"""Sweeps whose points run elsewhere: in processes, as tasks of Ray, or as jobs of submitit."""

from __future__ import annotations

import json
import time
from threading import Thread
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.cli.programs import moe_eval
from tests.experts.schedules.tuned_files import write_file
from tests.sweeps.sweeps import manifest, numbers, results, sweep_arguments

if TYPE_CHECKING:
    from pathlib import Path

# Of a tuned schedule in the settings of the fixture.
TUNED = "tuned-0.5"
ONE_K = ("--experts-k", "8")
RAY = ("--launcher", "ray", "--launcher-options", "num_cpus=2")
SLURM = ("--launcher", "slurm", "--launcher-options", "cluster=local", "timeout_min=15")
TIME_LIMIT_S = 300


@pytest.fixture(scope="module")
def ks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The published k, and a tuned schedule."""
    return ("--experts-k", "8", write_file(tmp_path_factory.mktemp("files"), TUNED, k="1/0:2"))


def sweep(folder: Path, *arguments: str, ks: tuple[str, ...] = ONE_K) -> Path:
    """Run a sweep to its end; its points start their own processes where that is requested."""
    run = moe_eval(*sweep_arguments(folder, *ks, *arguments))
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory, ks: tuple[str, ...]) -> Path:
    """A sweep that keeps its model in this process, which nobody disturbed."""
    return sweep(tmp_path_factory.mktemp("resident") / "sweep", ks=ks)


def test_jobs_of_submitit_leave_the_same_numbers_and_the_same_files(
    resident: Path, tmp_path: Path, ks: tuple[str, ...]
) -> None:
    """Each job runs the host's own command, as the points of Ray and of ``--separate`` do."""
    pytest.importorskip("submitit")
    jobs = sweep(tmp_path / "sweep", *SLURM, ks=ks)
    assert numbers(jobs) == numbers(resident)
    live, separate = (_of_one_folder(results(one, TUNED), one) for one in (resident, jobs))
    assert set(live) == set(separate)
    for key in ("model", "model_args", "batch_size", "limit"):
        assert live["config"][key] == separate["config"][key]
    apart = {"output_path", "hf_hub_log_args"}
    arguments = [one["config"]["resolved_cli_args"] for one in (live, separate)]
    assert {k: v for k, v in arguments[0].items() if k not in apart} == {
        k: v for k, v in arguments[1].items() if k not in apart
    }
    tuning, again = (
        one["moe_eval"]["easy_vqa"]["provenance"]["tuning"] for one in (live, separate)
    )
    assert tuning["questions"][0]["doc_ids"] == [0, 1]
    assert tuning == again


def _of_one_folder(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return results without the path of their sweep, where the file of the schedule is."""
    found: dict[str, Any] = json.loads(json.dumps(content).replace(str(folder), "sweep"))
    return found


def test_ray_finishes_a_sweep_though_a_worker_is_killed(resident: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    killer = Thread(target=kill_a_worker_at_work)
    killer.start()
    folder = sweep(tmp_path / "sweep", *RAY)
    killer.join()
    assert numbers(folder) == {"k8": numbers(resident)["k8"]}
    assert manifest(folder)["points"]["k8"]["n_attempts"] == 2


def kill_a_worker_at_work() -> None:
    """Kill one of Ray's workers below this process while lmms-eval is at work below it."""
    end = time.monotonic() + TIME_LIMIT_S
    while time.monotonic() < end:
        for child in psutil.Process().children(recursive=True):
            if is_at_work(child):
                child.kill()
                return
        time.sleep(0.2)


def is_at_work(process: psutil.Process) -> bool:
    try:
        below = [" ".join(child.cmdline()) for child in process.children()]
        return process.name().startswith("ray::") and any("lmms_eval" in one for one in below)
    except psutil.Error:
        return False
