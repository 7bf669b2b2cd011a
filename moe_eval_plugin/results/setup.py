"""What a run was made with: checkpoint, machine, versions and settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Machine:
    """The devices that a run used."""

    kind: str | None = None
    """Type of the device, for instance ``cuda`` or ``cpu``."""
    name: str | None = None
    """Name of one device, as its maker calls it."""
    n_devices: int | None = None
    """Number of devices."""
    threads: int | None = None
    """Threads that torch uses on a CPU."""
    driver: str | None = None
    """Version of the driver."""
    power_limit_watts: float | None = None
    """Power that a device may draw, in watts."""

    @classmethod
    def from_dict(cls, values: JsonObject) -> Machine:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            kind=values.text("kind"),
            name=values.text("name"),
            n_devices=values.integer("n_devices"),
            threads=values.integer("threads"),
            driver=values.text("driver"),
            power_limit_watts=values.number("power_limit_watts"),
        )


@dataclass(frozen=True)
class Setup:
    """What a run was made with; ``None`` is not recorded."""

    pretrained: str | None = None
    """Checkpoint as the user named it: a Hub id, a folder, or ``demo``."""
    revision: str | None = None
    """Commit of the checkpoint on the Hub."""
    dtype: str | None = None
    """Data type of the weights."""
    device: str | None = None
    """Device of the weights, as torch names it."""
    batch_size: int | None = None
    """Questions that were answered at once, at most."""
    n_ranks: int | None = None
    """Processes that shared the questions."""
    n_unanswered: int | None = None
    """Questions that could not be put to the model, and count as answered with nothing."""
    experts_implementation: str | None = None
    """How transformers computes the experts."""
    routed_flop_share: float | None = None
    """Share of a prompt's FLOPs in routed experts at the requested k (rho), 0 to 1."""
    tuning: TuningRecord | None = None
    """Where the schedule or the policy comes from, if ``moe-eval tune`` found it."""
    inputs: str | None = None
    """How inputs were prepared, where this was done before the clock started."""
    encode_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds that preparing the inputs of each task took."""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Version of each package; ``None`` for one that was not installed."""
    machine: Machine | None = None
    """The devices."""
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All stored names and values."""

    @property
    def machine_facts(self) -> dict[str, str | int | None]:
        """What the speed of a run depends on besides its model and settings, by name."""
        machine = self.machine or Machine()
        return {
            "kind": machine.kind,
            "name": machine.name,
            "n_devices": machine.n_devices,
            "threads": machine.threads,
            "processes": self.n_ranks,
        }

    @classmethod
    def from_dict(cls, values: JsonObject) -> Setup:
        """Build the record from a stored provenance; ``DataError`` for a wrong type."""
        machine = values.item("hardware")
        versions = values.item("versions") or JsonObject({})
        encoding = values.item("encode_s") or JsonObject({})
        tuning = values.item("tuning")
        return cls(
            pretrained=values.text("pretrained"),
            revision=values.text("revision"),
            dtype=values.text("dtype"),
            device=values.text("device"),
            batch_size=values.integer("batch_size"),
            n_ranks=values.integer("n_ranks"),
            n_unanswered=values.integer("n_unanswered"),
            experts_implementation=values.text("experts_implementation"),
            routed_flop_share=values.number("routed_flop_share"),
            tuning=TuningRecord.from_dict(tuning) if tuning else None,
            inputs=values.text("inputs"),
            encode_s={
                task: seconds
                for task in encoding.values
                if (seconds := encoding.number(task)) is not None
            },
            versions={name: versions.text(name) for name in versions.values},
            machine=Machine.from_dict(machine) if machine else None,
            values=values.values,
        )
