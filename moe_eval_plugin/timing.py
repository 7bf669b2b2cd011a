"""Clocks, and what they say about the batches of a run.

Time is monotonic, in seconds, and read after the device has finished its work. Loading, the
verification pass and warm-up are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class BatchTiming:
    """One batch of one task: what went in and came out, and the wall time since the last one.

    ``wall_s`` reaches from the end of the batch before (or the start of the run) to the end of
    this one. So the times of all batches add up to the time of the run, and whatever was not
    overlapped (reading images, preprocessing) is in them.
    """

    task: str
    n_samples: int
    n_input_tokens: int
    n_output_tokens: int
    wall_s: float


class LapTimer:
    """Measures from one lap to the next, so that no time between batches is lost."""

    def __init__(self, synchronize: Callable[[], None], clock: Clock = time.perf_counter) -> None:
        self._synchronize = synchronize
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin to measure now; what lies before is not counted."""
        self._synchronize()
        self._last = self._clock()

    def lap(self) -> float:
        """Wait for the device, and give the seconds since the last lap."""
        self._synchronize()
        now = self._clock()
        elapsed, self._last = now - self._last, now
        return elapsed


def synchronize(device: str) -> None:
    """Wait until the device has done all work that was queued on it; a CPU has none queued."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)
    elif kind != "cpu":
        torch.accelerator.synchronize()
