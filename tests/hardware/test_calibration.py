"""Measured ceilings: exact under a manual clock, and real ones on this machine."""

from __future__ import annotations

import os

import pytest
import torch

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hardware import calibration as calibration_module
from moe_eval_plugin.hardware.memory import Memory
from moe_eval_plugin.testing import ManualClock
from moe_eval_plugin.text import GIB

MIB = 1024**2


class TickingClock(ManualClock):
    """A clock that moves on by the same time whenever it is read."""

    def __init__(self, tick_s: float) -> None:
        super().__init__()
        self.tick_s = tick_s

    def __call__(self) -> float:
        self.advance(self.tick_s)
        return super().__call__()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time, where the figures do not matter."""
    monkeypatch.setattr(calibration_module, "SMALLEST_BUFFER_BYTES", MIB)
    monkeypatch.setattr(calibration_module, "LARGEST_BUFFER_BYTES", MIB)
    monkeypatch.setattr(calibration_module, "SMALLEST_SIDE", 16)
    monkeypatch.setattr(calibration_module, "LARGEST_SIDE", 16)


def nothing() -> None:
    """Wait for a device that is never behind."""


def test_the_best_repetition_counts_and_warm_up_does_not() -> None:
    clock = ManualClock()
    durations = iter([0.1, 9.0, 5.0, 3.0, 4.0, 8.0, 6.0])
    seconds = calibration_module.best_seconds(
        lambda: clock.advance(next(durations)), nothing, clock
    )
    assert seconds == pytest.approx(3.0)
    assert next(durations, None) is None


def test_time_that_the_device_needs_after_the_call_is_counted() -> None:
    clock = ManualClock()
    seconds = calibration_module.best_seconds(lambda: None, lambda: clock.advance(2.0), clock)
    assert seconds == 2.0


def test_short_calls_are_timed_in_groups() -> None:
    clock = ManualClock()
    waits: list[float] = []

    def wait() -> None:
        clock.advance(0.0001)
        waits.append(clock.now_s)

    n_calls = 0

    def work() -> None:
        nonlocal n_calls
        n_calls += 1
        clock.advance(0.0005)

    seconds = calibration_module.best_seconds(work, wait, clock)
    assert seconds == pytest.approx(0.0005 + 0.0001 / 4)
    assert n_calls == 2 + 4 * (len(waits) - 2)
    assert clock.now_s >= calibration_module.REPEAT_S


def test_a_clock_that_stands_still_ends_the_repetitions() -> None:
    assert calibration_module.best_seconds(lambda: None, nothing, ManualClock()) == 0.0


@pytest.mark.usefixtures("small")
def test_bandwidth_counts_each_byte_that_is_read_or_written() -> None:
    size = calibration_module.SMALLEST_BUFFER_BYTES
    assert calibration_module.memory_bandwidth("cpu", TickingClock(1.0)) == 2 * size


def test_reading_counts_where_it_is_faster_than_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([4.0, 1.0])
    monkeypatch.setattr(calibration_module, "best_seconds", lambda *_: next(seconds))
    size = calibration_module.SMALLEST_BUFFER_BYTES
    assert calibration_module.memory_bandwidth("cpu", TickingClock(1.0)) == size / 1.0


def test_buffers_grow_while_time_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "best_seconds", lambda *_: 1.0)
    monkeypatch.setattr(calibration_module, "SMALLEST_BUFFER_BYTES", 1024)
    monkeypatch.setattr(calibration_module, "LARGEST_BUFFER_BYTES", 8192)
    assert calibration_module.memory_bandwidth("cpu", ManualClock()) == 2 * 8192
    monkeypatch.setattr(
        calibration_module, "free_memory", lambda *_: Memory(4 * 2 * 2048, "a test")
    )
    assert calibration_module.memory_bandwidth("cpu", ManualClock()) == 2 * 2048
    assert calibration_module.memory_bandwidth("cpu", TickingClock(1.0)) == 2 * 1024


@pytest.mark.usefixtures("small")
def test_a_multiplication_of_matrices_is_two_n_cubed() -> None:
    side = calibration_module.SMALLEST_SIDE
    assert calibration_module.peak_flops("cpu", "float32", TickingClock(1.0)) == 2 * side**3


def test_the_fastest_size_of_matrices_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def seconds(_device: object, _dtype: object, side: int, _clock: object) -> float:
        tried.append(side)
        return {16: 2.0, 32: 1.0, 64: 100.0}[side] * 1e-3

    monkeypatch.setattr(calibration_module, "SMALLEST_SIDE", 16)
    monkeypatch.setattr(calibration_module, "LARGEST_SIDE", 64)
    monkeypatch.setattr(calibration_module, "_multiply", seconds)
    assert calibration_module.peak_flops("cpu", "float32") == 2 * 32**3 / 1e-3
    assert tried == [16, 32, 64]


def test_this_machine_has_ceilings() -> None:
    assert 1e8 < calibration_module.memory_bandwidth("cpu") < 1e13
    assert 1e8 < calibration_module.peak_flops("cpu", "torch.float32") < 1e15


@pytest.mark.usefixtures("small")
def test_a_calibration_tells_its_data_type() -> None:
    calibration = calibration_module.calibrate("cpu", "torch.half")
    assert calibration.dtype == "float16"
    assert calibration.memory_bandwidth_bytes_per_s is not None


@pytest.mark.usefixtures("small")
def test_the_seed_of_the_run_is_left_alone() -> None:
    before = torch.get_rng_state()
    assert calibration_module.peak_flops("cpu", "float32", TickingClock(1.0)) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("small")
def test_a_data_type_that_cannot_be_multiplied_is_a_reason() -> None:
    calibration = calibration_module.calibrate("cpu", "float8_e4m3fn")
    assert calibration.memory_bandwidth_bytes_per_s is not None
    assert calibration.peak_flops_per_s is None
    assert calibration.reasons[0].startswith("arithmetic in float8_e4m3fn was not measured")


@pytest.mark.parametrize("name", ["bf17", "nn", "auto"])
def test_a_word_that_is_no_data_type_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"dtype={name} .*bfloat16"):
        calibration_module.calibrate("cpu", name)


def test_memory_without_room_for_matrices_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "free_memory", lambda *_: Memory(4 * MIB, "a test"))
    calibration = calibration_module.calibrate("cpu", "float32")
    assert calibration.peak_flops_per_s is None
    assert "512 x 512" in calibration.reasons[1]


def test_memory_that_is_full_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "free_memory", lambda *_: Memory(GIB // 2, "a test"))
    calibration = calibration_module.calibrate("cpu", "float32")
    assert calibration.memory_bandwidth_bytes_per_s is None
    assert calibration.peak_flops_per_s is not None
    assert "0.1 GiB may be used" in calibration.reasons[0]


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_a_reason(device: str) -> None:
    calibration = calibration_module.calibrate(device, "float32")
    assert calibration.memory_bandwidth_bytes_per_s is None
    assert calibration.peak_flops_per_s is None
    assert len(calibration.reasons) == 2
    assert device in calibration.reasons[0]


@pytest.mark.parametrize(("load", "is_busy"), [(0.0, False), (1000.0, True)])
def test_a_busy_processor_is_told(
    monkeypatch: pytest.MonkeyPatch, load: float, *, is_busy: bool
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(calibration_module, "memory_bandwidth", lambda _: 1.0)
    monkeypatch.setattr(calibration_module, "peak_flops", lambda *_: 1.0)
    reasons = calibration_module.calibrate("cpu", "float32").reasons
    assert any("busy" in reason for reason in reasons) == is_busy
