"""Measure the memory bandwidth and peak FLOP/s of a device that has no data-sheet figures.

The best of several repetitions counts, not their median: the figures are upper limits, and any
disturbance only makes a repetition slower. Runs are compared with these figures, so they are
measured under the same conditions: threads, dtype and settings of torch.
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
# Two buffers, or three matrices, may take this share of the free memory.
MEMORY_SHARE = 0.25
# Short calls are timed in groups, so that launching and reading the clock cost little.
GROUP_S = 0.002
LARGEST_GROUP = 100
# Many short repetitions: on a busy machine some of them are left undisturbed.
LEAST_REPETITIONS, MOST_REPETITIONS = 5, 1000
REPEAT_S = 0.1
# The next size is tried if it is expected to take no longer.
BUDGET_S = 0.5
# Above this many runnable processes per core, other programs slow the measurement.
BUSY_LOAD = 1.5


@dataclass(frozen=True)
class Calibration:
    """Bandwidth and peak FLOP/s of a device at one dtype; ``reasons`` say why one is ``None``."""

    dtype: str
    memory_bandwidth_bytes_per_s: float | None
    peak_flops_per_s: float | None
    reasons: tuple[str, ...] = ()


def calibrate(device: str, dtype: str) -> Calibration:
    """Measure the memory bandwidth of a device, and its peak FLOP/s at a dtype.

    What cannot be measured is ``None`` with a reason, such as full memory or a dtype that the
    device lacks. Takes one to two seconds. Raises ``InvalidArgumentError`` if ``dtype`` is not one
    of torch's.
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
    """Return the bytes per second of copying a buffer (read and write) or summing it, if faster.

    Reading alone is what decoding does, and on processors that fetch a line before they
    overwrite it the faster of the two. The buffers grow while time allows, so that they exceed the
    caches, and the largest counts.
    """
    with _reserved_memory(device) as (target, memory):
        rate, size, limit = 0.0, SMALLEST_BUFFER_BYTES, min(LARGEST_BUFFER_BYTES, memory // 2)
        if size > limit:
            message = (
                f"{gib_text(memory)} may be used, and two buffers of {gib_text(size)} are needed"
            )
            raise MemoryError(message)
        while size <= limit:
            rate, spent_s = _stream(target, size, clock)
            size = size * 2 if 2 * spent_s <= BUDGET_S else limit + 1
    return rate


def peak_flops(device: str, dtype: str, clock: Clock = read_clock) -> float:
    """Return the FLOP/s of multiplying square matrices, at the fastest size.

    A multiplication of n x n matrices counts 2 n^3.
    """
    matrix_dtype = _dtype(dtype)
    with _reserved_memory(device) as (target, memory):
        best, side = 0.0, SMALLEST_SIDE
        if 3 * side**2 * matrix_dtype.itemsize > memory:
            message = (
                f"{gib_text(memory)} may be used, too little for three {side} x {side} matrices"
            )
            raise MemoryError(message)
        while side <= LARGEST_SIDE and 3 * side**2 * matrix_dtype.itemsize <= memory:
            seconds = _multiply(target, matrix_dtype, side, clock)
            best = max(best, 2 * side**3 / seconds)
            next_s = 8 * seconds * LEAST_REPETITIONS
            side = side * 2 if next_s <= BUDGET_S else LARGEST_SIDE + 1
    return best


def best_seconds(work: Callable[[], object], wait: Callable[[], None], clock: Clock) -> float:
    """Return the seconds of one call: the best of many, after warm-up."""

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


def _stream(device: torch.device, size: int, clock: Clock) -> tuple[float, float]:
    """Return the bytes per second with buffers of this size, and the seconds that it took."""
    import torch

    begin = clock()
    source = torch.ones(size // 4, device=device)
    target = torch.zeros_like(source)

    def wait() -> None:
        synchronize(str(device))

    copying = best_seconds(lambda: target.copy_(source), wait, clock)
    reading = best_seconds(source.sum, wait, clock)
    return max(2 * size / copying, size / reading), clock() - begin


def _multiply(device: torch.device, dtype: torch.dtype, side: int, clock: Clock) -> float:
    """Return the seconds of one multiplication.

    The numbers are random, as zeros take less power and so run at a higher clock. They come from
    a generator of their own, so that the seed of the run is not used up.
    """
    import torch

    random = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.empty(side, side, device=device, dtype=dtype).uniform_(-1, 1, generator=random)
        for _ in range(2)
    )
    product = torch.empty_like(left)
    return best_seconds(
        lambda: torch.mm(left, right, out=product), lambda: synchronize(str(device)), clock
    )


@contextmanager
def _reserved_memory(device: str) -> Iterator[tuple[torch.device, int]]:
    """Yield a device and the bytes that may be used on it; free them afterwards."""
    import torch

    target = torch.device(device)
    free = free_memory(device, None)
    if free is None:
        message = f"the free memory of {device} is not known"
        raise MemoryError(message)
    try:
        with torch.inference_mode():
            yield target, int(free.free_bytes * MEMORY_SHARE)
    finally:
        gc.collect()
        if target.type == "cuda":
            torch.cuda.empty_cache()


def _dtype(name: str) -> torch.dtype:
    import torch

    found: Any = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        message = (
            f"dtype={name} is not a dtype of torch. Use the one that the model computes in: "
            "float32, bfloat16 or float16."
        )
        raise InvalidArgumentError(message)
    return found
