"""``Accelerator``: a device model and the peak rates of its data sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDOR = "nvidia "


@dataclass(frozen=True)
class Accelerator:
    """One device model with its memory bandwidth and peak FLOP/s."""

    names: tuple[str, ...]
    """Names that drivers report, without the word NVIDIA that newer drivers put before them."""
    memory_bandwidth_bytes_per_s: float
    """Bandwidth of the device's memory, in bytes per second."""
    peak_flops_per_s: Mapping[str, float]
    """Dense peak FLOP/s by dtype, such as ``{"bfloat16": 400e12}``."""
    source: str
    """Where the figures come from, such as "X1 data sheet"."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names in the form that look-ups compare."""
        return tuple(map(accelerator_key, self.names))


def accelerator_key(name: str) -> str:
    """Return a device name in the form that look-ups compare."""
    return name.casefold().strip().removeprefix(VENDOR)
