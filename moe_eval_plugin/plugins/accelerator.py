"""``Accelerator``: a device model and the peak rates of its data sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDOR = "nvidia "


@dataclass(frozen=True)
class Accelerator:
    """A device model, with the memory bandwidth and the peak FLOP/s of its data sheet.

    Example::

        Accelerator(("Example X1",), 2.0e12, {"bfloat16": 400e12}, "X1 data sheet, page 3")
    """

    names: tuple[str, ...]
    """Names that drivers report for the device, without a leading "NVIDIA"."""
    memory_bandwidth_bytes_per_s: float
    """Memory bandwidth, in bytes per second."""
    peak_flops_per_s: Mapping[str, float]
    """Peak FLOP/s without sparsity, by data type, such as ``{"bfloat16": 400e12}``."""
    source: str
    """Where the figures come from, such as "X1 data sheet, page 3"."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names in the form that look-ups compare."""
        return tuple(map(accelerator_key, self.names))


def accelerator_key(name: str) -> str:
    """Return a device name in the form that look-ups compare."""
    return name.casefold().strip().removeprefix(VENDOR)
