"""Traces of a study, and how they were collected."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.json_object import JsonObject
    from moe_eval_plugin.routing.trace import RoutingTrace


@dataclass(frozen=True)
class Collection:
    """How a trace was collected; ``None`` and empty where that is not recorded."""

    date: str | None = None
    """Date and time in ISO 8601."""
    command: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the trace depends on besides model and tasks, by name."""

    @classmethod
    def from_dict(cls, values: JsonObject) -> Collection:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""

        def item(name: str) -> Mapping[str, Any]:
            found = values.item(name)
            return found.values if found else {}

        return cls(
            date=values.text("date"),
            command=values.text("command"),
            machine=item("machine"),
            versions=item("versions"),
            settings=item("settings"),
        )


@dataclass(frozen=True, eq=False)
class Source:
    """A trace, and where it comes from."""

    trace: RoutingTrace
    collection: Collection
    texts: Mapping[int, str] = field(default_factory=dict)
    """Texts of tokens that are known already, by their numbers."""

    def to_dict(self, folder: str) -> dict[str, Any]:
        """Return the record of ``routing.json``; ``folder`` has the trace."""
        trace = self.trace
        names = ("model", "revision", "weights", "tasks", "n_tokens")
        return {
            **{name: getattr(trace, name) for name in names},
            "traces": folder,
            "collection": asdict(self.collection),
        }
