from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.hardware import watch as module
from moe_eval_plugin.hardware.watch import MachineWatch
from tests.hardware.fake_gpus import FakeGpu, NVMLError, install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SPAN_S = 10.0


def write_stat(path: Path, busy_s: float = 0.0, stolen_s: float = 0.0) -> None:
    """Write counters of cores that were busy, and stolen, for some seconds each."""
    busy, stolen = int(busy_s * TICKS), int(stolen_s * TICKS)
    # Another half of the time is idle, or waits for disks; a guest's time is in that of users.
    row = f"{busy} 0 0 5000 500 0 0 {stolen} {busy} 0"
    lines = [f"cpu  {row}", *(f"cpu{core} {row}" for core in CORES), "intr 5 0 0", "btime 1"]
    path.write_text("\n".join(lines), "ascii")


def clock(span_s: float = SPAN_S) -> Callable[[], float]:
    """Return a clock that is read once before a span and once after it."""
    times = iter([0.0, span_s])
    return lambda: next(times)


def test_others_have_what_was_busy_and_not_this_process(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    write_stat(path, busy_s=3, stolen_s=1)
    watch = MachineWatch("cpu", proc_stat=path, clock=clock())
    write_stat(path, busy_s=8, stolen_s=2)

    load = watch.load()

    assert load.n_cores == len(CORES)
    assert load.other_cpu_cores == pytest.approx(5 * len(CORES) / SPAN_S, abs=0.05)
    assert load.steal_share == pytest.approx(0.1)
    assert load.load_average is not None
    assert load.gpu_clock_share is None
    assert load.n_other_gpu_processes is None


def test_the_time_of_programs_that_were_started_before_is_its_own() -> None:
    spin = "import time\nend = time.perf_counter() + 30\nwhile time.perf_counter() < end: pass"
    child = subprocess.Popen([sys.executable, "-c", spin])
    try:
        watch = MachineWatch("cpu")
        began_s, end_s = watch._own_seconds() - time.process_time(), time.perf_counter() + 20
        while time.perf_counter() < end_s:
            children_s = watch._own_seconds() - time.process_time() - began_s
            if children_s > 0.1:
                break
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()

    assert children_s > 0.1


def test_another_program_is_seen() -> None:
    watch = MachineWatch("cpu")
    spin = "import time\nend = time.perf_counter() + 0.4\nwhile time.perf_counter() < end: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)

    load = watch.load()

    # It began after the watch, so that it is not one of this process's own.
    assert load.other_cpu_cores is not None
    assert load.other_cpu_cores > 0.1
    assert load.other_cpu_cores <= load.n_cores


def test_where_the_counters_cannot_be_read_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    assert MachineWatch("cpu", proc_stat=path, clock=clock()).load().other_cpu_cores is None

    for text in ("cpu  1 2 3", f"cpu{CORES[0]} 1 2 3\n", "cpu0 one two", "\xff"):
        path.write_text(text, "latin-1")
        load = MachineWatch("cpu", proc_stat=path, clock=clock()).load()
        assert (load.other_cpu_cores, load.steal_share) == (None, None)


def test_less_than_a_tenth_of_a_second_is_too_short_to_count(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    write_stat(path)

    load = MachineWatch("cpu", proc_stat=path, clock=clock(0.05)).load()

    assert (load.other_cpu_cores, load.steal_share) == (None, None)


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "100000 100000"},
        {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
    ],
)
def test_others_may_have_the_cores_that_a_container_may_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "ascii")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    monkeypatch.setattr(module, "_cores_of_process", lambda: frozenset([0, 1, 2, 3]))
    stat = tmp_path / "stat"
    row = "0 0 0 0 0 0 0 0"
    stat.write_text("".join(f"cpu{core} {row}\n" for core in range(4)), "ascii")
    watch = MachineWatch("cpu", proc_stat=stat, clock=clock())
    row = f"{int(8.75 * TICKS)} 0 0 0 0 0 0 0"
    stat.write_text("".join(f"cpu{core} {row}\n" for core in range(4)), "ascii")

    load = watch.load()

    assert load.n_cores == 1
    # Of 3.5 busy cores, three are those that this process may not use.
    assert load.other_cpu_cores == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("text", ["max 100000", "-1 100000", "", "1 0", "many"])
def test_a_container_without_a_limit_may_use_all_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "cpu.max").write_text(text, "ascii")
    monkeypatch.setattr(module, "CGROUP", tmp_path)

    assert MachineWatch("cpu").load().n_cores == len(CORES)


def test_the_slowest_gpu_and_the_processes_of_others_on_all_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = os.getpid()
    gpus = [
        FakeGpu(uuid="a", process_ids=[own, 900_001]),
        FakeGpu(uuid="b", sm_mhz=990, process_ids=[own, 900_001, 900_002]),
    ]
    install(monkeypatch, gpus)

    load = MachineWatch("cuda").load()

    assert load.gpu_clock_share == 0.5
    assert load.n_other_gpu_processes == 2
    assert MachineWatch("cuda:0").load().n_other_gpu_processes == 1


def test_what_nvml_does_not_know_of_a_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = NVMLError("Not Supported")
    gpu = FakeGpu(process_ids=[900_001], faults={"clocks": fault})
    install(monkeypatch, [gpu])

    load = MachineWatch("cuda").load()

    # Without this process among them, the numbers are those outside of a container.
    assert (load.gpu_clock_share, load.n_other_gpu_processes) == (None, None)
    gpu.faults["processes"] = fault
    assert MachineWatch("cuda").load().n_other_gpu_processes is None
    assert MachineWatch("cuda:7").load().gpu_clock_share is None
