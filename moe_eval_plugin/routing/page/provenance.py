"""Where the numbers of a routing study come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.json_object import JsonObject


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


@dataclass(frozen=True)
class Source:
    """A trace of the study."""

    model: str
    revision: str | None
    weights: str | None
    """Digest of the weights."""
    traces: str
    """Folder that the trace was read from, or is written to."""
    collection: Collection


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    tasks: tuple[str, ...]
    n_questions: int
    n_tokens: int
    sources: tuple[Source, ...]
    """The trace, and the one that it is compared with."""
    command: str
    """The command that made the page."""

    @property
    def facts(self) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
        """For each trace its heading, and names and values."""
        return tuple(
            (f"Compared with {one.model}" if number else one.model, tuple(self._of(one, number)))
            for number, one in enumerate(self.sources)
        )

    def _of(self, one: Source, number: int) -> Iterator[tuple[str, str]]:
        known: dict[str, object] = {
            "Model": one.model,
            "Revision": one.revision,
            "Digest of the weights": one.weights,
            "Tasks": None if number else ", ".join(self.tasks),
            "Questions": None if number else f"{self.n_questions:,}",
            "Tokens": None if number else f"{self.n_tokens:,}",
            "Traces": one.traces,
            "Machine": as_text(dict(one.collection.machine)),
            **one.collection.settings,
            "Versions": as_text(dict(one.collection.versions)),
            "Date": one.collection.date,
            "Command": one.collection.command,
        }
        for name, value in known.items():
            if value not in (None, "", {}, []):
                yield name, as_text(value)
