"""Memory and energy are divided among tasks, and read no more often than once a second."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from moe_eval_plugin.hardware import meter as meter_module
from moe_eval_plugin.hardware.meter import SECONDS_BETWEEN_READINGS, HardwareMeter
from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.testing import ManualClock


@dataclass
class Hardware:
    """A device whose energy and peak memory are set by a test."""

    clock: ManualClock = field(default_factory=ManualClock)
    total_joules: float | None = 0.0
    peak_bytes: int = 0
    readings_s: list[float] = field(default_factory=list)
    started_at_joules: float = 0.0

    def use(self, seconds: float, joules: float, peak_bytes: int) -> None:
        self.clock.advance(seconds)
        if self.total_joules is not None:
            self.total_joules += joules
        self.peak_bytes = max(self.peak_bytes, peak_bytes)

    def start(self) -> None:
        self.started_at_joules = self.total_joules or 0.0

    def joules(self) -> float | None:
        return None if self.total_joules is None else self.total_joules - self.started_at_joules

    def to_dict(self) -> dict[str, str]:
        return {"source": "a test"}

    def read_peak(self, device: str) -> PeakMemory:
        assert device == "cpu"
        self.readings_s.append(self.clock.now_s)
        return PeakMemory(None, None, self.peak_bytes)

    def reset_peak(self, device: str) -> None:
        assert device == "cpu"
        self.peak_bytes = 0


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """Return a device that was used before the run begins."""
    hardware = Hardware()
    hardware.use(3.0, 50.0, 900)
    monkeypatch.setattr(meter_module, "EnergyMeter", lambda _device, clock: hardware)  # noqa: ARG005
    monkeypatch.setattr(meter_module, "peak_memory", hardware.read_peak)
    monkeypatch.setattr(meter_module, "reset_peak_memory", hardware.reset_peak)
    return hardware


@pytest.fixture
def meter(hardware: Hardware) -> HardwareMeter:
    """Return a meter of that device, started."""
    started = HardwareMeter("cpu", hardware.clock)
    started.start()
    return started


def process_use(peak_bytes: int, joules: float | None) -> HardwareUse:
    return HardwareUse(PeakMemory(None, None, peak_bytes), joules)


def test_each_task_gets_its_own_energy_and_peak(hardware: Hardware, meter: HardwareMeter) -> None:
    for task, joules, peak_bytes, is_last in [
        ("a", 3.0, 20, False),
        ("a", 4.0, 50, True),
        ("b", 11.0, 40, True),
    ]:
        hardware.use(SECONDS_BETWEEN_READINGS, joules, peak_bytes)
        meter.batch_end(task, is_last=is_last)
    assert meter.finish() == {"a": process_use(50, 7.0), "b": process_use(40, 11.0)}


def test_nothing_is_read_within_a_second_but_after_the_last_batch(
    hardware: Hardware, meter: HardwareMeter
) -> None:
    begin_s = hardware.clock.now_s
    for seconds, is_last in [(0.5, False), (0.25, False), (0.25, False), (0.5, True)]:
        hardware.use(seconds, 1.0, 10)
        meter.batch_end("a", is_last=is_last)
    assert [at_s - begin_s for at_s in hardware.readings_s] == [1.0, 1.5]


def test_what_is_left_after_the_last_reading_goes_to_the_last_task(
    hardware: Hardware, meter: HardwareMeter
) -> None:
    hardware.use(0.25, 2.0, 10)
    meter.batch_end("a", is_last=False)
    assert hardware.readings_s == []
    assert meter.finish() == {"a": process_use(10, 2.0)}


def test_energy_that_is_unknown_at_the_end_is_unknown_for_every_task(
    hardware: Hardware, meter: HardwareMeter
) -> None:
    for task in "ab":
        hardware.use(SECONDS_BETWEEN_READINGS, 5.0, 10)
        meter.batch_end(task, is_last=True)
    hardware.total_joules = None
    assert meter.finish() == {"a": process_use(10, None), "b": process_use(10, None)}


def test_a_run_without_a_batch_has_no_task(meter: HardwareMeter) -> None:
    assert meter.finish() == {}
    assert meter.describe() == {"source": "a test"}
