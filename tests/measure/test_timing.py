from __future__ import annotations

import pytest

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.measure.timing import BatchTiming, LapTimer, PhaseTimes
from moe_eval_plugin.testing import ManualClock


class Device:
    """A device with a queue: work is done later than it is handed over, as on a GPU."""

    def __init__(self, host: ManualClock) -> None:
        self.host = host
        self.free_at_s = 0.0

    def queue(self, seconds: float) -> None:
        self.free_at_s = max(self.free_at_s, self.host.now_s) + seconds

    def wait(self) -> None:
        self.host.now_s = max(self.host.now_s, self.free_at_s)


@pytest.mark.parametrize("waits", [True, False])
def test_a_run_that_never_waits_for_the_device_is_caught(waits: bool) -> None:
    host = ManualClock()
    device = Device(host)
    timer = LapTimer(device.wait if waits else lambda: None, host)
    begin = device.free_at_s
    device.queue(5.0)
    host.advance(0.01)
    busy = PhaseTimes(0.0, device.free_at_s - begin, 0.0, None, 0)
    if waits:
        assert BatchTiming("a", 1, 5, (1,), timer.lap(), phases=busy).wall_s == 5.0
        return
    with pytest.raises(MeasurementError, match=r"busy for 5.0+ s within 0.0100+ s"):
        BatchTiming("a", 1, 5, (1,), timer.lap(), phases=busy)


def test_laps_leave_no_time_out_and_wait_for_the_device() -> None:
    clock, waits = ManualClock(), []
    timer = LapTimer(lambda: (waits.append(1), clock.advance(0.5))[1], clock)
    clock.advance(1.0)
    assert timer.lap() == pytest.approx(1.5)
    clock.advance(2.0)
    assert timer.lap() == pytest.approx(2.5)
    assert len(waits) == 3
