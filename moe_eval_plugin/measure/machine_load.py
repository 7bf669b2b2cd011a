"""Records of how busy a machine was with other work while something was timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moe_eval_plugin.json_object import JsonObject


@dataclass(frozen=True)
class MachineLoad:
    """What else a machine did during a span of time; ``None`` is not known."""

    n_cores: int
    """Cores that this process may use."""
    load_average: float | None = None
    """Processes that ran or waited for a core, mean of the last minute, this process included."""
    other_cpu_cores: float | None = None
    """Cores that other processes kept busy, on average."""
    steal_share: float | None = None
    """Share of the cores' time that the hypervisor gave to other machines, 0 to 1."""
    gpu_clock_share: float | None = None
    """Clock of the slowest GPU by the largest clock it has, 0 to 1."""
    n_other_gpu_processes: int | None = None
    """Other processes that use a GPU of this run."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> MachineLoad:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            n_cores=values.need_integer("n_cores"),
            load_average=values.number("load_average"),
            other_cpu_cores=values.number("other_cpu_cores"),
            steal_share=values.number("steal_share"),
            gpu_clock_share=values.number("gpu_clock_share"),
            n_other_gpu_processes=values.integer("n_other_gpu_processes"),
        )
