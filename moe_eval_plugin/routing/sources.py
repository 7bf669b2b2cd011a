"""Traces of a study, and how they were collected."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.routing.files import read_trace
from moe_eval_plugin.routing.published_traces import read_flame_traces
from moe_eval_plugin.routing.study_folder import OTHER_TRACES, STUDY, TRACES, is_study

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


def read_source(folder: Path, *, against: bool = False) -> Source:
    """Return the trace of a folder: a study, a folder of traces, or traces of FLAME-MoE.

    Of a study, its trace is read, or with ``against`` the one that it was compared with, if any.
    Raises ``DataError`` for a folder without traces.
    """
    if not folder.is_dir():
        message = f"{folder} is no folder. Name the folder of a study, or one with traces."
        raise DataError(message)
    if is_study(folder):
        return _of_study(folder, against=against)
    if is_study(folder.parent) and folder.name in (TRACES, OTHER_TRACES):
        return _of_study(folder.parent, against=folder.name == OTHER_TRACES)
    is_ours = any(folder.glob("*.parquet"))
    return Source(read_trace(folder) if is_ours else read_flame_traces(folder), Collection())


def _of_study(folder: Path, *, against: bool) -> Source:
    content = JsonObject(json.loads((folder / STUDY).read_text("utf-8")), str(folder / STUDY))
    records = content.items("sources")
    is_other = against and len(records) > 1
    record = records[1 if is_other else 0].item("collection") if records else None
    texts = content.mapping("vocabulary")
    return Source(
        read_trace(folder / (OTHER_TRACES if is_other else TRACES)),
        Collection.from_dict(record) if record else Collection(),
        {int(number): str(text) for number, text in texts.items() if number.isdecimal()},
    )
