"""Sweeps whose points run elsewhere: in processes, as tasks of Ray, or as jobs of submitit."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.cli.programs import moe_eval
from tests.experts.schedules.tuned_files import write_file
from tests.sweeps.sweeps import command, manifest, numbers, results, sweep_arguments

if TYPE_CHECKING:
    from pathlib import Path

# Of a tuned schedule in the settings of the fixture.
TUNED = "tuned-0.5"
ONE_K = ("--experts-k", "8")
RAY = ("--launcher", "ray", "--launcher-options", "num_cpus=2")
SLURM = ("--launcher", "slurm", "--launcher-options", "cluster=local", "timeout_min=15")
TIME_LIMIT_S = 900


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
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ks: tuple[str, ...]) -> Path:
    """A sweep in processes of its own on this machine, which nobody disturbed."""
    return sweep(tmp_path_factory.mktemp("undisturbed") / "sweep", "--separate", ks=ks)


def test_each_point_leaves_the_files_of_the_host_s_own_command(
    undisturbed: Path, tmp_path: Path, ks: tuple[str, ...]
) -> None:
    folder = sweep(tmp_path / "sweep", ks=ks)
    live, separate = (_of_one_folder(results(one, TUNED), one) for one in (folder, undisturbed))
    assert set(live) == set(separate)
    for key in ("model", "model_args", "batch_size", "limit"):
        assert live["config"][key] == separate["config"][key]
    apart = {"output_path", "hf_hub_log_args"}
    arguments = [one["config"]["resolved_cli_args"] for one in (live, separate)]
    assert {k: v for k, v in arguments[0].items() if k not in apart} == {
        k: v for k, v in arguments[1].items() if k not in apart
    }
    assert numbers(folder) == numbers(undisturbed)
    tuning, again = (
        one["moe_eval"]["easy_vqa"]["provenance"]["tuning"] for one in (live, separate)
    )
    assert tuning["questions"][0]["doc_ids"] == [0, 1]
    assert tuning == again


def _of_one_folder(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return results without the path of their sweep, where the file of the schedule is."""
    found: dict[str, Any] = json.loads(json.dumps(content).replace(str(folder), "sweep"))
    return found


def test_ray_finishes_a_sweep_though_a_worker_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    folder = tmp_path / "sweep"
    process = subprocess.Popen(
        command(folder, *ONE_K, *RAY), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    kill_a_worker_at_work(process)
    _, told = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == 0, told
    assert numbers(folder) == {"k8": numbers(undisturbed)["k8"]}
    assert manifest(folder)["points"]["k8"]["n_attempts"] == 2


def test_jobs_of_submitit_leave_the_same_numbers(undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    folder = sweep(tmp_path / "sweep", *SLURM)
    assert numbers(folder) == {"k8": numbers(undisturbed)["k8"]}


def test_a_point_may_be_shared_among_processes(undisturbed: Path, tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep", "--processes-per-point", "2")
    shared, alone = numbers(folder)["k8"], numbers(undisturbed)["k8"]
    assert shared["score"] == alone["score"]
    assert shared["counts"] == alone["counts"]


def kill_a_worker_at_work(process: subprocess.Popen[str]) -> None:
    """Kill one of Ray's workers while lmms-eval is at work below it."""
    end = time.monotonic() + TIME_LIMIT_S
    while time.monotonic() < end:
        assert process.poll() is None, "the sweep ended before a worker could be killed"
        for child in psutil.Process(process.pid).children(recursive=True):
            if is_at_work(child):
                child.kill()
                return
        time.sleep(0.2)
    message = "no worker of Ray began to work"
    raise AssertionError(message)


def is_at_work(process: psutil.Process) -> bool:
    try:
        below = [" ".join(child.cmdline()) for child in process.children()]
        return process.name().startswith("ray::") and any("lmms_eval" in one for one in below)
    except psutil.Error:
        return False
