"""Memory and energy of vLLM's workers, each read in its own process, while a task is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.results.measurements import Measurements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.measure.timing import Clock

# Often enough for any counter of energy, and too seldom to show in the times.
SECONDS_BETWEEN_READINGS = 10.0


class WorkersHardware:
    """The meters of all workers, asked through ``call`` (vLLM's ``collective_rpc``)."""

    def __init__(self, call: Callable[..., Sequence[Any]], clock: Clock = read_clock) -> None:
        self._call = call
        self._clock = clock

    def describe(self) -> dict[str, Any]:
        """Give the facts of the first worker's device, with the number of workers."""
        first, *others = self._call("moe_eval_hardware")
        return {**first, "n_devices": 1 + len(others)}

    def start(self) -> None:
        """Begin to measure now."""
        self._call("moe_eval_meter_start")
        self._last_reading_s = self._clock()

    def request_end(self, task: str) -> None:
        """Read the meters now and then; call this as requests of a task end."""
        if self._clock() - self._last_reading_s >= SECONDS_BETWEEN_READINGS:
            self._call("moe_eval_meter_read", args=(task,))
            self._last_reading_s = self._clock()

    def finish(self, task: str) -> list[Measurements]:
        """Stop the meters, and give what each worker measured."""
        return [
            Measurements(hardware={task: _use(found["use"])}, energy=found["energy"])
            for found in self._call("moe_eval_meter_finish", args=(task,))
        ]


def _use(found: dict[str, Any]) -> HardwareUse:
    peak = found["peak_memory"]
    return HardwareUse(PeakMemory(**peak) if peak else None, found["joules"])
