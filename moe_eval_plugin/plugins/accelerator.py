"""``Accelerator``: a device and the ceilings of its data sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDOR = "nvidia "


@dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    ``names`` are those that the driver reports, without the word NVIDIA that newer drivers put
    before them. ``source`` says where the figures come from, in words.
    """

    names: tuple[str, ...]
    memory_bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]
    source: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The names as they are compared."""
        return tuple(map(accelerator_key, self.names))


def accelerator_key(name: str) -> str:
    """Return a device name in the form that look-ups compare."""
    return name.casefold().strip().removeprefix(VENDOR)
