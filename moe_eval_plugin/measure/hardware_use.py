"""Records of memory and energy used by a task."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moe_eval_plugin.json_object import JsonObject

NVML, RAPL = "NVML total energy", "RAPL"


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that this process held."""

    allocated_bytes: int | None
    """Peak in tensors, added up over all visible GPUs; ``None`` without a GPU."""
    reserved_bytes: int | None
    """Peak that torch's cache took, added up over all visible GPUs; ``None`` without a GPU."""
    process_bytes: int
    """Peak RAM of the process (resident set)."""

    def largest(self, other: PeakMemory | None) -> PeakMemory:
        """Return the larger one of each peak; ``other`` is of another time or process."""
        if other is None:
            return self
        return PeakMemory(
            larger_or_known(self.allocated_bytes, other.allocated_bytes),
            larger_or_known(self.reserved_bytes, other.reserved_bytes),
            max(self.process_bytes, other.process_bytes),
        )

    @property
    def used_bytes(self) -> int:
        """Bytes in tensors on the GPUs, or the RAM of the process where no GPU is used."""
        return self.process_bytes if self.allocated_bytes is None else self.allocated_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the peaks as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> PeakMemory:
        """Build the peaks from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        return cls(
            values.integer("allocated_bytes"),
            values.integer("reserved_bytes"),
            values.need_integer("process_bytes"),
        )


def larger_or_known(one: int | None, other: int | None) -> int | None:
    """Return the larger of two counts, or the known one; ``None`` if neither is known."""
    known = [number for number in (one, other) if number is not None]
    return max(known, default=None)


@dataclass(frozen=True)
class HardwareUse:
    """What the hardware did while a task was answered."""

    peak_memory: PeakMemory | None = None
    """Peaks of memory, each of the process that took the most."""
    joules: float | None = None
    """Energy of the devices of all processes; ``None`` if no counter measured it."""

    def followed_by(self, later: HardwareUse) -> HardwareUse:
        """Return the use of two parts of a task: the larger peaks, and all joules if known."""
        peak = self.peak_memory.largest(later.peak_memory) if self.peak_memory else None
        is_known = self.joules is not None and later.joules is not None
        joules = (self.joules or 0.0) + (later.joules or 0.0) if is_known else None
        return HardwareUse(peak or later.peak_memory, joules)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        memory = self.peak_memory.to_dict() if self.peak_memory else None
        return {"peak_memory": memory, "joules": self.joules}

    @classmethod
    def from_dict(cls, values: JsonObject) -> HardwareUse:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        memory = values.item("peak_memory")
        return cls(PeakMemory.from_dict(memory) if memory else None, values.number("joules"))
