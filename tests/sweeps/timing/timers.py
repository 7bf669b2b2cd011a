"""Timers without a model: a clock that a block moves on by the seconds of each setting."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.results.timing.timed_pass import TimedPass
from moe_eval_plugin.sweeps.timing.interleaved import DoesNotFitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.measure.hardware_use import HardwareUse

SETTINGS = ("k8", "k4", "k1")


def wanted(**changed: object) -> TimedPass:
    """Build a pass without blocks; given fields replace the usual ones."""
    usual = {
        "task": "easy_vqa",
        "batch_size": 4,
        "settings": SETTINGS,
        "baseline": "k8",
        "sample": tuple(range(16)),
        "seed": 0,
        "precision": 0.03,
        "budget_s": 1000.0,
        "identity": {"digest": "a"},
    }
    return TimedPass(**{**usual, **changed})  # type: ignore[arg-type]


class ClockTimer:
    """A ``Timer`` whose blocks take ``seconds(setting, number of the block in this process)``."""

    device = "cpu"

    def __init__(self, seconds: Callable[[str, int], float], largest: int = 64) -> None:
        self.now = 0.0
        self.timed: list[tuple[str, int]] = []
        self._seconds = seconds
        self._largest = largest

    def clock(self) -> float:
        return self.now

    @contextmanager
    def blocks(self, wanted: TimedPass) -> Iterator[ClockTimer]:
        self._wanted = wanted
        yield self

    def time(self, setting: str, number: int) -> tuple[tuple[BatchTiming, ...], HardwareUse | None]:
        size = self._wanted.batch_size
        if size > self._largest:
            raise DoesNotFitError(size // 2)
        self.timed.append((setting, number))
        seconds = self._seconds(setting, (len(self.timed) - 1) // len(self._wanted.settings))
        self.now += seconds
        return (BatchTiming(self._wanted.task, size, 9, (1,) * size, seconds),), None
