"""Watch what else a machine does while something is timed.

Linux counts the time of each core (``/proc/stat``), and NVML the clocks and processes of a GPU.
What cannot be read is ``None``: macOS has no such file, some containers hide it, and without NVML
nothing is known of a GPU. Nothing here ends a run. A reading takes some tenths of a millisecond and
belongs outside of what is timed.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.hardware import nvml
from moe_eval_plugin.hardware.nvml import NotKnownError
from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.measure.timing import Clock, read_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

PROC_STAT = Path("/proc/stat")
CGROUP = Path("/sys/fs/cgroup")
# Linux counts the time of a core in steps of 10 ms: over less than this, the count is noise.
SHORTEST_SPAN_S = 0.1
# Columns of /proc/stat: user (guests too), nice, system, idle, iowait, irq, softirq, steal.
BUSY_COLUMNS = (0, 1, 2, 5, 6)
STEAL_COLUMN = 7


@dataclass(frozen=True)
class CoreSeconds:
    """Seconds of some cores since the machine was started, all cores added up."""

    busy_s: float
    """Time in which they worked for this machine."""
    stolen_s: float
    """Time in which they would have worked, and the hypervisor gave them to another machine."""


class MachineWatch:
    """Compares the counters of a machine before and after a block.

    ``device`` is a name of torch: ``cpu``, ``cuda:1``, or ``cuda`` for all visible GPUs. Processes
    that this one has started before the watch is made count as its own.
    """

    def __init__(
        self, device: str, *, proc_stat: Path = PROC_STAT, clock: Clock = read_clock
    ) -> None:
        self._proc_stat, self._clock = proc_stat, clock
        self._cores = _cores_of_process()
        self._n_cores = min(len(self._cores), _cores_of_container() or len(self._cores))
        self._family = _family()
        self._gpus = _gpus(device)
        self.start()

    def start(self) -> None:
        """Read the counters: what happened before does not count."""
        self._before = self._read()
        self._own_before_s = self._own_seconds()
        self._started_s = self._clock()

    def load(self) -> MachineLoad:
        """Return what else the machine did since ``start``."""
        elapsed_s = self._clock() - self._started_s
        now, own_s = self._read(), self._own_seconds() - self._own_before_s
        other, steal = None, None
        if now is not None and self._before is not None and elapsed_s >= SHORTEST_SPAN_S:
            other_s = now.busy_s - self._before.busy_s - own_s
            # A container may use fewer cores than it sees: others may have those that are left.
            left_over = len(self._cores) - self._n_cores
            other = min(max(0.0, other_s / elapsed_s - left_over), float(self._n_cores))
            stolen_s = now.stolen_s - self._before.stolen_s
            steal = min(max(0.0, stolen_s / elapsed_s / len(self._cores)), 1.0)
        return MachineLoad(
            n_cores=self._n_cores,
            load_average=_load_average(),
            other_cpu_cores=other,
            steal_share=steal,
            gpu_clock_share=_smallest(self._gpus, nvml.Gpu.clock_share),
            n_other_gpu_processes=self._n_other_gpu_processes(),
        )

    def _read(self) -> CoreSeconds | None:
        names = {f"cpu{core}" for core in self._cores}
        try:
            lines = [line.split() for line in self._proc_stat.read_text("ascii").splitlines()]
            found = [[int(one) for one in row] for name, *row in lines if name in names]
        except (OSError, ValueError):
            return None
        if len(found) != len(names) or any(len(row) <= STEAL_COLUMN for row in found):
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        return CoreSeconds(
            busy_s=sum(row[column] for row in found for column in BUSY_COLUMNS) / ticks,
            stolen_s=sum(row[STEAL_COLUMN] for row in found) / ticks,
        )

    def _own_seconds(self) -> float:
        """Return the seconds of cores that this process and its children have used."""
        import psutil

        total_s = 0.0
        for process in self._family:
            with suppress(psutil.Error):
                times = process.cpu_times()
                total_s += times.user + times.system
        return total_s

    def _n_other_gpu_processes(self) -> int | None:
        own, others = {process.pid for process in self._family}, set[int]()
        for gpu in self._gpus:
            try:
                found = gpu.process_ids()
            except NotKnownError:
                return None
            # In a container NVML may list the numbers that processes have outside of it.
            if not found & own:
                return None
            others |= found - own
        return len(others) if self._gpus else None


def _cores_of_process() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cores_of_container() -> int | None:
    """Return the cores that a control group allows, rounded up; ``None`` without a limit."""
    # The files of both versions of control groups; without a limit they hold "max" or -1.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError, ZeroDivisionError):
            text = " ".join((CGROUP / name).read_text("ascii") for name in names)
            quota, period = map(int, text.split())
            if quota > 0:
                return math.ceil(quota / period)
    return None


def _family() -> tuple[psutil.Process, ...]:
    import psutil

    own = psutil.Process()
    with suppress(psutil.Error, OSError):
        return (own, *own.children(recursive=True))
    return (own,)


def _gpus(device: str) -> tuple[nvml.Gpu, ...]:
    if device.partition(":")[0] != "cuda":
        return ()
    try:
        return tuple(nvml.Gpu(index) for index in nvml.visible(device))
    except NotKnownError:
        return ()


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _smallest(gpus: tuple[nvml.Gpu, ...], read: Callable[[nvml.Gpu], float]) -> float | None:
    try:
        return min((read(gpu) for gpu in gpus), default=None)
    except NotKnownError:
        return None
