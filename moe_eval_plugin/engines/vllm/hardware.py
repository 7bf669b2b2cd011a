"""Measure memory and energy of vLLM's workers, each read in its own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.results.measurements import Measurements, energy_of, use_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.measure.timing import Clock

# Often enough for any counter of energy, and too seldom to show in the times.
SECONDS_BETWEEN_READINGS = 10.0


class WorkersHardware:
    """The meters of all workers, called through ``call`` (vLLM's ``collective_rpc``)."""

    def __init__(self, call: Callable[..., Sequence[Any]], clock: Clock = read_clock) -> None:
        self._call = call
        self._clock = clock
        self._energy: dict[str, Any] | None = None

    def device(self) -> dict[str, Any]:
        """Return the facts of the first worker's device, with the number of workers."""
        first, *others = self._call("moe_eval_hardware")
        return {**first, "n_devices": 1 + len(others)}

    def start(self) -> None:
        """Start measuring."""
        self._call("moe_eval_meter_start")
        self._last_reading_s = self._clock()

    def batch_end(self, task: str, *, is_last: bool) -> None:
        """Read the meters if some time has passed, or if this was the last batch of its task."""
        if is_last or self._clock() - self._last_reading_s >= SECONDS_BETWEEN_READINGS:
            self._call("moe_eval_meter_read", args=(task, is_last))
            self._last_reading_s = self._clock()

    def finish(self) -> dict[str, HardwareUse]:
        """Stop the meters; return what each task took of all workers."""
        workers = [_measurements(found) for found in self._call("moe_eval_meter_finish")]
        self._energy, _ = energy_of(workers)
        tasks = dict.fromkeys(task for worker in workers for task in worker.hardware)
        return {task: use_of(task, workers) for task in tasks}

    def describe(self) -> dict[str, Any] | None:
        """Describe the counter of energy as plain data, once the meters have stopped."""
        return self._energy


def _measurements(found: dict[str, Any]) -> Measurements:
    uses = {
        task: HardwareUse.from_dict(JsonObject(use, "vLLM's worker", task))
        for task, use in found["uses"].items()
    }
    return Measurements(hardware=uses, energy=found["energy"])
