"""Memory bandwidth and arithmetic of a device, measured: for one that no table knows.

The best of several repetitions counts, not their median: a ceiling is wanted, and whatever
disturbs a repetition only makes it slower. What a run reaches later is compared with these
figures, so they are taken under its conditions: the same threads, data type and settings of torch.
"""

from __future__ import annotations

import gc
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hardware.memory import free_memory
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.measure.timing import Clock, read_clock
from moe_eval_plugin.text import MIB, gib_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

# Far above the caches of common processors and GPUs, and quick to copy on the fastest memory.
SMALLEST_BUFFER_BYTES, LARGEST_BUFFER_BYTES = 256 * MIB, 1024 * MIB
SMALLEST_SIDE, LARGEST_SIDE = 512, 16384
# Two buffers, or three matrices, may take this share of the memory that is free.
MEMORY_SHARE = 0.25
# Short calls are timed in groups, so that starting one and reading the clock cost next to nothing.
GROUP_S = 0.002
LARGEST_GROUP = 100
# Many short repetitions: on a busy machine some of them are left undisturbed.
LEAST_REPETITIONS, MOST_REPETITIONS = 5, 1000
REPEAT_S = 0.1
# The next size is tried if it is expected to take no longer.
BUDGET_S = 0.5
# Above this many runnable processes for each core, others are in the way.
BUSY_LOAD = 1.5


@dataclass(frozen=True)
class Calibration:
    """What was measured on one device: bytes per second, and FLOP per second at one data type.

    ``None`` with a reason where it could not be measured.
    """

    dtype: str
    memory_bandwidth_bytes_per_s: float | None
    peak_flops_per_s: float | None
    reasons: tuple[str, ...] = ()


def calibrate(device: str, dtype: str) -> Calibration:
    """Measure a device, and say why where that fails: memory that is full, a data type it lacks.

    Raises ``InvalidArgumentError`` if ``dtype`` is none of torch's.
    """
    name = str(_dtype(dtype)).removeprefix("torch.")
    reasons: list[str] = []

    def attempt(what: str, measured: Callable[[], float]) -> float | None:
        try:
            return measured()
        except (RuntimeError, MemoryError) as error:
            said = str(error).strip() or type(error).__name__
            reasons.append(f"{what} was not measured: {said.splitlines()[0]}")
            return None

    bandwidth = attempt("memory bandwidth", lambda: memory_bandwidth(device))
    peak = attempt(f"arithmetic in {name}", lambda: peak_flops(device, name))
    if device.startswith("cpu") and os.getloadavg()[0] > BUSY_LOAD * (os.cpu_count() or 1):
        reasons.append("other programs kept the processor busy, so the ceilings may be too low")
    return Calibration(name, bandwidth, peak, tuple(reasons))


def memory_bandwidth(device: str, clock: Clock = read_clock) -> float:
    """Measure bytes per second: the faster of copying a buffer (read and write) and adding it up.

    Reading alone is what decoding does, and on processors that fetch a line before they
    overwrite it the faster of the two. The buffers grow while time allows, to leave the caches
    behind, and the largest counts.
    """
    with _workplace(device) as (place, memory):
        rate, size, limit = 0.0, SMALLEST_BUFFER_BYTES, min(LARGEST_BUFFER_BYTES, memory // 2)
        if size > limit:
            message = (
                f"{gib_text(memory)} may be used, and two buffers of {gib_text(size)} are needed"
            )
            raise MemoryError(message)
        while size <= limit:
            rate, spent_s = _stream(place, size, clock)
            size = size * 2 if 2 * spent_s <= BUDGET_S else limit + 1
    return rate


def peak_flops(device: str, dtype: str, clock: Clock = read_clock) -> float:
    """Measure FLOP per second of multiplying square matrices, at the size that is fastest.

    A multiplication of n x n matrices counts 2 n^3.
    """
    kind = _dtype(dtype)
    with _workplace(device) as (place, memory):
        best, side = 0.0, SMALLEST_SIDE
        if 3 * side**2 * kind.itemsize > memory:
            message = (
                f"{gib_text(memory)} may be used, too little for three {side} x {side} matrices"
            )
            raise MemoryError(message)
        while side <= LARGEST_SIDE and 3 * side**2 * kind.itemsize <= memory:
            seconds = _multiply(place, kind, side, clock)
            best = max(best, 2 * side**3 / seconds)
            next_s = 8 * seconds * LEAST_REPETITIONS
            side = side * 2 if next_s <= BUDGET_S else LARGEST_SIDE + 1
    return best


def best_seconds(work: Callable[[], object], wait: Callable[[], None], clock: Clock) -> float:
    """Give the seconds of one call, the best of many, after warm-up."""

    def group(n_calls: int) -> float:
        begin = clock()
        for _ in range(n_calls):
            work()
        wait()
        return (clock() - begin) / n_calls

    group(1)
    n_calls = math.ceil(GROUP_S / max(group(1), GROUP_S / LARGEST_GROUP))
    begin, best, n_done = clock(), math.inf, 0
    while n_done < LEAST_REPETITIONS or (n_done < MOST_REPETITIONS and clock() - begin < REPEAT_S):
        best, n_done = min(best, group(n_calls)), n_done + 1
    return best


def _stream(place: torch.device, size: int, clock: Clock) -> tuple[float, float]:
    """Give bytes per second with buffers of this size, and the seconds that it took."""
    import torch

    begin = clock()
    source = torch.ones(size // 4, device=place)
    target = torch.zeros_like(source)

    def wait() -> None:
        synchronize(str(place))

    copying = best_seconds(lambda: target.copy_(source), wait, clock)
    reading = best_seconds(source.sum, wait, clock)
    return max(2 * size / copying, size / reading), clock() - begin


def _multiply(place: torch.device, kind: torch.dtype, side: int, clock: Clock) -> float:
    """Give the seconds of one multiplication.

    The numbers are random, as zeros take less power and so run at a higher clock, and drawn apart
    from the seed of the run.
    """
    import torch

    random = torch.Generator(place).manual_seed(0)
    left, right = (
        torch.empty(side, side, device=place, dtype=kind).uniform_(-1, 1, generator=random)
        for _ in range(2)
    )
    product = torch.empty_like(left)
    return best_seconds(
        lambda: torch.mm(left, right, out=product), lambda: synchronize(str(place)), clock
    )


@contextmanager
def _workplace(device: str) -> Iterator[tuple[torch.device, int]]:
    """Give a device and the bytes that may be used on it; hand them back afterwards."""
    import torch

    place = torch.device(device)
    free = free_memory(device, None)
    if free is None:
        message = f"the free memory of {device} is not known"
        raise MemoryError(message)
    try:
        with torch.inference_mode():
            yield place, int(free.free_bytes * MEMORY_SHARE)
    finally:
        gc.collect()
        if place.type == "cuda":
            torch.cuda.empty_cache()


def _dtype(name: str) -> torch.dtype:
    import torch

    found: Any = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        message = (
            f"dtype={name} is no data type of torch. Use float32, bfloat16 or float16, the one "
            "that the model computes in."
        )
        raise InvalidArgumentError(message)
    return found
