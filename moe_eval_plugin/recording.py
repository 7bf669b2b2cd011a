"""What one process measures while requests run, and the records that all processes make of it.

A run belongs to one ``RunRecorder``: nothing is kept in modules. Its memory and energy are read
between batches, at most once a second, so that reading them does not show in the times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin import events
from moe_eval_plugin.device import peak_memory, reset_peak_memory
from moe_eval_plugin.energy import RAPL, EnergyMeter
from moe_eval_plugin.events import Announcer, BatchEnd, RunEnd, RunStart
from moe_eval_plugin.result import HardwareUse, RunRecord
from moe_eval_plugin.speed import summarise
from moe_eval_plugin.timing import read_clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.device import PeakMemory
    from moe_eval_plugin.timing import BatchTiming, Clock
    from moe_eval_plugin.verification import VerifiedOverride

SECONDS_BETWEEN_READINGS = 1.0
ONE_SOCKET = (
    "each of {} processes counted the energy of the whole processor, so it cannot be added up"
)


@dataclass(frozen=True)
class Measurements:
    """What one process measured; the parts are by task. It can be sent to another process.

    ``energy`` describes the counter of energy as plain data.
    """

    batches: tuple[BatchTiming, ...] = ()
    hardware: Mapping[str, HardwareUse] = field(default_factory=dict)
    energy: Mapping[str, Any] | None = None


class HardwareMeter:
    """Reads the memory and the energy of a device, and divides them among tasks.

    ``device`` is a name of torch: ``cpu``, ``cuda:1``, or ``cuda`` for all GPUs that are visible.
    """

    def __init__(self, device: str, clock: Clock = read_clock) -> None:
        self._device = device
        self._clock = clock
        self._energy = EnergyMeter(device, clock=clock)
        self._peaks: dict[str, PeakMemory] = {}
        self._joules: dict[str, float] = {}
        self._task: str | None = None

    def start(self) -> None:
        """Begin now: what was held and used before does not count."""
        reset_peak_memory(self._device)
        self._energy.start()
        self._read_until = 0.0
        self._last_reading_s = self._clock()

    def batch_end(self, task: str, *, is_last: bool) -> None:
        """Tell that a batch of a task is done, and whether it was the last one of that task."""
        self._task = task
        if is_last or self._clock() - self._last_reading_s >= SECONDS_BETWEEN_READINGS:
            self._read(task)

    def finish(self) -> dict[str, HardwareUse]:
        """Give what each task took."""
        if self._task is not None:
            self._read(self._task)
        is_known = self._energy.joules() is not None
        return {
            task: HardwareUse(peak, self._joules.get(task) if is_known else None)
            for task, peak in self._peaks.items()
        }

    def describe(self) -> dict[str, Any]:
        """Describe the counter of energy as plain data."""
        return self._energy.to_dict()

    def _read(self, task: str) -> None:
        self._last_reading_s = self._clock()
        self._peaks[task] = peak_memory(self._device).largest(self._peaks.get(task))
        reset_peak_memory(self._device)
        total = self._energy.joules()
        if total is not None:
            self._joules[task] = self._joules.get(task, 0.0) + total - self._read_until
            self._read_until = total


class RunRecorder:
    """Owns what this process measures of one run, and tells plugins how it goes on.

    Without a ``hardware`` meter, memory and energy are not measured.
    """

    def __init__(self, announcer: Announcer, rank: int, hardware: HardwareMeter | None) -> None:
        self._announcer = announcer
        self._rank = rank
        self._hardware = hardware
        self._batches: list[BatchTiming] = []
        self._n_left: Counter[str] = Counter()
        self._n_requests = 0

    def start(
        self,
        tasks_of_requests: Sequence[str],
        experts: Mapping[str, VerifiedOverride],
        provenance: Mapping[str, Any],
    ) -> None:
        """Tell plugins that a run of these requests begins; its time begins when this returns."""
        self._n_requests = len(tasks_of_requests)
        self._n_left = Counter(tasks_of_requests)
        event = RunStart(provenance, dict(self._n_left), dict(experts), self._rank)
        self._announcer.announce(events.RUN_START, event)
        if self._hardware is not None:
            self._hardware.start()

    def batch_end(self, timing: BatchTiming) -> bool:
        """Keep a batch; ``True`` if plugins were told, whose time must not count."""
        self._batches.append(timing)
        self._n_left[timing.task] -= timing.n_samples
        if self._hardware is not None:
            self._hardware.batch_end(timing.task, is_last=self._n_left[timing.task] <= 0)
        if not self._announcer.listens(events.BATCH_END):
            return False
        n_done = self._n_requests - self._n_left.total()
        event = BatchEnd(timing, n_done, self._n_requests, self._rank)
        self._announcer.announce(events.BATCH_END, event)
        return True

    def measurements(self) -> Measurements:
        """Give all that was measured."""
        if self._hardware is None:
            return Measurements(tuple(self._batches))
        return Measurements(
            tuple(self._batches),
            self._hardware.finish(),
            self._hardware.describe(),
        )


def make_records(
    ranks: Sequence[Measurements],
    experts: Mapping[str, VerifiedOverride],
    provenance: Mapping[str, Any],
    steady_decode: Mapping[str, Any] | None = None,
) -> dict[str, RunRecord]:
    """Join what all processes measured to one record per task."""
    energy, _ = _energy_of(ranks)
    return {
        task: RunRecord(
            task,
            experts[task],
            speed,
            {**provenance, "energy": energy},
            use_of(task, ranks),
            steady_decode=steady_decode,
        )
        for task, speed in summarise([rank.batches for rank in ranks]).items()
        if task in experts
    }


def use_of(task: str, ranks: Sequence[Measurements]) -> HardwareUse:
    """Take the largest memory of a process, and the joules of all if each is known."""
    _, adds_up = _energy_of(ranks)
    uses = [rank.hardware[task] for rank in ranks if task in rank.hardware]
    largest: PeakMemory | None = None
    for use in uses:
        if use.peak_memory is not None:
            largest = use.peak_memory.largest(largest)
    joules = [use.joules for use in uses if use.joules is not None]
    is_known = adds_up and bool(joules) and len(joules) == len(uses)
    return HardwareUse(largest, sum(joules) if is_known else None)


def announce_end(
    announcer: Announcer, records: Mapping[str, RunRecord], rank: int
) -> dict[str, RunRecord]:
    """Tell plugins that a run has ended, and add the rows that they have for it."""
    event = RunEnd(dict(records), rank)
    announcer.announce(events.RUN_END, event)
    metrics = announcer.extra_metrics(event)
    return {
        task: replace(
            record,
            extra=tuple(metric for metric in metrics if metric.task == task),
            provenance={**record.provenance, "plugin_failures": list(announcer.failures)},
        )
        for task, record in records.items()
    }


def _energy_of(ranks: Sequence[Measurements]) -> tuple[dict[str, Any] | None, bool]:
    """Describe the counters, and tell whether those of all processes can be added up."""
    energy = ranks[0].energy
    if energy is None or len(ranks) == 1 or energy["source"] != RAPL:
        return dict(energy) if energy is not None else None, True
    reason = ONE_SOCKET.format(len(ranks))
    return {**energy, "reasons": [*energy["reasons"], reason]}, False
