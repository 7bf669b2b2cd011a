"""Measure the memory and energy of the tasks of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hardware.energy import EnergyMeter
from moe_eval_plugin.hardware.memory import peak_memory, reset_peak_memory
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.timing import read_clock

if TYPE_CHECKING:
    from moe_eval_plugin.measure.hardware_use import PeakMemory
    from moe_eval_plugin.measure.timing import Clock

SECONDS_BETWEEN_READINGS = 1.0


class HardwareMeter:
    """Reads the memory and the energy of a device, and divides them among tasks.

    ``device`` is a name of torch: ``cpu``, ``cuda:1``, or ``cuda`` for all visible GPUs. Readings
    are at least a second apart, so that they do not show in the times.
    """

    def __init__(self, device: str, clock: Clock = read_clock) -> None:
        self._device = device
        self._clock = clock
        self._energy = EnergyMeter(device, clock=clock)
        self._peaks: dict[str, PeakMemory] = {}
        self._joules: dict[str, float] = {}
        self._task: str | None = None

    def start(self) -> None:
        """Start measuring: memory and energy from before do not count."""
        reset_peak_memory(self._device)
        self._energy.start()
        self._read_until = 0.0
        self._last_reading_s = self._clock()

    def batch_end(self, task: str, *, is_last: bool) -> None:
        """Read the hardware after the last batch of a task, or once a second has passed."""
        self._task = task
        if is_last or self._clock() - self._last_reading_s >= SECONDS_BETWEEN_READINGS:
            self._read(task)

    def finish(self) -> dict[str, HardwareUse]:
        """Return the memory and energy of each task."""
        if self._task is not None:
            self._read(self._task)
        is_known = self._energy.joules() is not None
        return {
            task: HardwareUse(peak, self._joules.get(task) if is_known else None)
            for task, peak in self._peaks.items()
        }

    def describe(self) -> dict[str, Any]:
        """Return a description of the energy counter as plain JSON data."""
        return self._energy.to_dict()

    def _read(self, task: str) -> None:
        self._last_reading_s = self._clock()
        self._peaks[task] = peak_memory(self._device).largest(self._peaks.get(task))
        reset_peak_memory(self._device)
        total = self._energy.joules()
        if total is not None:
            self._joules[task] = self._joules.get(task, 0.0) + total - self._read_until
            self._read_until = total
