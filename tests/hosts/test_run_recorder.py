"""What a run measures is divided among its tasks exactly, and joined over processes.

The clock is moved by hand; the counters of energy are files like those of Linux, or GPUs that this
machine need not have; the peaks of memory are set by the test.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pluggy
import pytest
import torch

from moe_eval_plugin.hardware import meter
from moe_eval_plugin.hardware.energy import EnergyMeter
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.hosts.run_recorder import RunRecorder
from moe_eval_plugin.measure.hardware_use import RAPL, HardwareUse, PeakMemory
from moe_eval_plugin.plugins import hookimpl, hookspecs
from moe_eval_plugin.plugins.announcer import Announcer
from moe_eval_plugin.plugins.hookspecs import PROJECT
from moe_eval_plugin.results.measurements import Measurements, make_records
from moe_eval_plugin.testing import ManualClock
from moe_eval_plugin.text import GIB
from tests.hardware.fake_gpus import FakeGpu, NVMLError, install
from tests.results.sample_records import EXPERTS, batch

if TYPE_CHECKING:
    from pathlib import Path


RANGE = 262_143_328_850


@dataclass
class Machine:
    """A processor with a counter of energy and a peak of memory, both moved by hand."""

    powercap: Path
    clock: ManualClock
    joules: float = 0.0
    peak_gib: float = 1.0
    n_readings: int = 0

    def spend(self, seconds: float, joules: float, peak_gib: float = 0.0) -> None:
        """Let time pass in which energy is taken and memory held."""
        self.clock.advance(seconds)
        self.joules += joules
        self.peak_gib = max(self.peak_gib, peak_gib)
        self._show()

    def peak_memory(self, device: str) -> PeakMemory:
        assert device == "cpu"
        self.n_readings += 1
        return PeakMemory(None, None, int(self.peak_gib * GIB))

    def reset_peak_memory(self, device: str) -> None:
        assert device == "cpu"
        self.peak_gib = 1.0

    def _show(self) -> None:
        steps = str(round(self.joules * 1e6) % RANGE)
        (self.powercap / "intel-rapl:0" / "energy_uj").write_text(steps, encoding="ascii")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0", encoding="ascii")
    (zone / "max_energy_range_uj").write_text(str(RANGE), encoding="ascii")
    machine = Machine(tmp_path, ManualClock())
    machine.spend(0.0, 1000.0, peak_gib=50.0)
    monkeypatch.setattr(meter, "peak_memory", machine.peak_memory)
    monkeypatch.setattr(meter, "reset_peak_memory", machine.reset_peak_memory)
    monkeypatch.setattr(meter, "EnergyMeter", partial(EnergyMeter, powercap=tmp_path))
    return machine


def announcer(*plugins: object) -> Announcer:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    return Announcer(manager)


def recorder(machine: Machine, tasks: str, *plugins: object) -> RunRecorder:
    """Start a run with one request for each letter, of the task that it names."""
    meter = HardwareMeter("cpu", machine.clock)
    started = RunRecorder(announcer(*plugins), rank=0, hardware=meter)
    started.start(list(tasks), EXPERTS, {})
    return started


def test_joules_and_peaks_of_each_task_are_exact(machine: Machine) -> None:
    run = recorder(machine, "aabb")
    for task, joules, peak in [("a", 3.0, 2.0), ("a", 4.0, 5.0), ("b", 11.0, 4.0), ("b", 2.5, 3.0)]:
        machine.spend(2.0, joules, peak)
        run.batch_end(batch(task, 1), 1)
    measured = run.measurements()
    assert {task: use.joules for task, use in measured.hardware.items()} == pytest.approx(
        {"a": 7.0, "b": 13.5}
    )
    peaks = {task: use.peak_memory for task, use in measured.hardware.items()}
    assert peaks == {
        "a": PeakMemory(None, None, 5 * GIB),
        "b": PeakMemory(None, None, 4 * GIB),
    }
    assert measured.energy is not None
    assert (measured.energy["source"], measured.energy["reasons"]) == (RAPL, [])


def test_what_was_used_before_the_start_does_not_count(machine: Machine) -> None:
    meter = HardwareMeter("cpu", machine.clock)
    machine.spend(5.0, 100.0, peak_gib=9.0)
    run = RunRecorder(announcer(), rank=0, hardware=meter)
    run.start(["a"], EXPERTS, {})
    machine.spend(5.0, 1.5, peak_gib=2.0)
    run.batch_end(batch("a", 1), 1)
    use = run.measurements().hardware["a"]
    assert use.joules == pytest.approx(1.5)
    assert use.peak_memory == PeakMemory(None, None, 2 * GIB)


def test_what_plugins_do_at_the_start_is_not_energy_of_the_run(machine: Machine) -> None:
    class Slow:
        @hookimpl
        def moe_eval_run_start(self, event: object) -> None:
            assert event is not None
            machine.spend(60.0, 500.0, peak_gib=30.0)

    run = recorder(machine, "a", Slow())
    machine.spend(5.0, 2.0)
    run.batch_end(batch("a", 1), 1)
    use = run.measurements().hardware["a"]
    assert use.joules == pytest.approx(2.0)
    assert use.peak_memory == PeakMemory(None, None, GIB)


def test_tasks_that_take_turns_within_a_second_do_not_lose_energy(machine: Machine) -> None:
    run = recorder(machine, "aabb")
    for task in "abab":
        machine.spend(0.125, 1.0)
        run.batch_end(batch(task, 1), 1)
    joules = {task: use.joules for task, use in run.measurements().hardware.items()}
    assert joules == pytest.approx({"a": 3.0, "b": 1.0})


def test_readings_come_at_most_once_a_second(machine: Machine) -> None:
    run = recorder(machine, "a" * 100)
    n_readings = []
    for _ in range(99):
        machine.spend(0.125, 1.0)
        run.batch_end(batch("a", 1), 1)
        n_readings.append(machine.n_readings)
    assert n_readings[:16] == [0] * 7 + [1] * 8 + [2]
    assert machine.n_readings == 99 // 8


def test_each_task_is_read_at_its_end_however_short_it_was(machine: Machine) -> None:
    run = recorder(machine, "aab")
    machine.spend(0.01, 1.0)
    run.batch_end(batch("a", 1), 1)
    assert machine.n_readings == 0
    machine.spend(0.01, 2.0)
    run.batch_end(batch("a", 1), 1)
    assert machine.n_readings == 1
    machine.spend(0.01, 4.0)
    run.batch_end(batch("b", 1), 1)
    assert machine.n_readings == 2
    joules = {task: use.joules for task, use in run.measurements().hardware.items()}
    assert joules == pytest.approx({"a": 3.0, "b": 4.0})


def test_energy_that_becomes_unknown_is_unknown_for_all_tasks(machine: Machine) -> None:
    run = recorder(machine, "ab")
    machine.spend(2.0, 1.0)
    run.batch_end(batch("a", 1), 1)
    machine.spend(2 * RANGE * 1e-6, 3.0)
    run.batch_end(batch("b", 1), 1)
    measured = run.measurements()
    assert {use.joules for use in measured.hardware.values()} == {None}
    assert all(use.peak_memory is not None for use in measured.hardware.values())
    assert measured.energy is not None
    assert "more than once" in measured.energy["reasons"][0]


def test_a_counter_that_did_not_move_gives_none_and_not_zero(machine: Machine) -> None:
    run = recorder(machine, "a")
    machine.spend(2.0, 0.0)
    run.batch_end(batch("a", 1), 1)
    assert run.measurements().hardware["a"].joules is None


def test_without_a_meter_nothing_is_measured_but_the_batches(machine: Machine) -> None:
    run = RunRecorder(announcer(), rank=0, hardware=None)
    run.start(["a"], EXPERTS, {})
    run.batch_end(batch("a", 1), 1)
    assert run.measurements() == Measurements((batch("a", 1),))
    assert machine.n_readings == 0
    made = make_records([run.measurements()], EXPERTS, {})["a"]
    assert made.hardware == HardwareUse()
    assert made.provenance["energy"] is None
    assert made.rows()["peak_memory_gib"] is None


def test_memory_and_energy_of_a_gpu_are_read_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, clock = FakeGpu(), ManualClock()
    install(monkeypatch, [gpu])
    held = {"peak": 0}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _index: held["peak"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _index: 2 * held["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _index: held.update(peak=1))
    run = RunRecorder(announcer(), rank=0, hardware=HardwareMeter("cuda:0", clock))
    run.start(["a", "b"], EXPERTS, {})
    for task, millijoules, peak in (("a", 2500, 7 * GIB), ("b", 500, 5 * GIB)):
        clock.advance(2.0)
        gpu.energy_millijoules += millijoules
        held["peak"] = peak
        run.batch_end(batch(task, 1), 1)
    held["peak"] = 0
    measured = run.measurements()
    assert measured.hardware["a"].joules == pytest.approx(2.5)
    assert measured.hardware["b"].joules == pytest.approx(0.5)
    peaks = [use.peak_memory for use in measured.hardware.values() if use.peak_memory]
    assert [(one.allocated_bytes, one.reserved_bytes) for one in peaks] == [
        (7 * GIB, 14 * GIB),
        (5 * GIB, 10 * GIB),
    ]


def test_a_gpu_that_tells_no_energy_still_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(faults={"energy": NVMLError("Not Supported")})])
    for name in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda _index: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _index: None)
    run = RunRecorder(announcer(), rank=0, hardware=HardwareMeter("cuda:0"))
    run.start(["a"], EXPERTS, {})
    run.batch_end(batch("a", 1), 1)
    measured = run.measurements()
    assert measured.hardware["a"].joules is None
    made = make_records([measured], EXPERTS, {})["a"]
    assert made.rows()["peak_memory_gib"] == 3
    assert "Not Supported" in made.provenance["energy"]["reasons"][0]


def test_measurements_can_be_sent_and_stored(machine: Machine) -> None:
    run = recorder(machine, "a")
    machine.spend(2.0, 1.0)
    run.batch_end(batch("a", 1), 1)
    measured = run.measurements()
    assert pickle.loads(pickle.dumps(measured)) == measured  # noqa: S301
    made = make_records([measured], EXPERTS, {})["a"]
    assert json.loads(json.dumps(made.to_dict()))["provenance"]["energy"]["source"] == RAPL
