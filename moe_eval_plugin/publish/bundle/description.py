"""Describe how a packed run was made: the content of ``bundle.json``, written and read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.harness import FIRST, PACKAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.json_object import JsonObject

SCHEMA_VERSION = 1
KIND = "bundle"
SWEEP, RUN = "sweep", "run"
IMAGES = "not in the bundle: samples name the images, and the task reads them again"


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a packed run, which are not in the bundle.

    ``sha256`` has the checksums of the small files of a local folder, by their names.
    """

    pretrained: str
    revision: str | None = None
    is_local_folder: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: JsonObject) -> Checkpoint:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            pretrained=values.need_text("pretrained"),
            revision=values.text("revision"),
            is_local_folder=bool(values.choice("is_local_folder", (True, False))),
            sha256=values.mapping("sha256"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it is stored."""
        stored: dict[str, Any] = {
            "pretrained": self.pretrained,
            "revision": self.revision,
            "in_bundle": False,
            "is_local_folder": self.is_local_folder,
        }
        return {**stored, "sha256": dict(self.sha256)} if self.is_local_folder else stored


@dataclass(frozen=True)
class BundleDescription:
    """What a bundle holds, and how to repeat it."""

    of: str
    """``sweep`` or ``run``."""
    made: str | None
    """When the run began."""
    commands: list[list[str]]
    """Commands that repeat the sweep or the run, with ``commands.OUTPUT`` for the folder."""
    checkpoint: Checkpoint
    """Weights of the model."""
    points: Mapping[str, str]
    """Results file in the bundle of each point of the sweep."""
    host_commands: Mapping[str, list[str]]
    """Command of the host that repeats each point."""
    versions: Mapping[str, str | None]
    """Versions of the packages that the run recorded."""
    git_hash: str | None
    """Git revision that the host recorded."""
    python: str | None
    """Version of Python in the environment that packed."""
    machine: Mapping[str, Any] | None
    """Facts of the machine that the run recorded."""
    warnings: tuple[str, ...] = ()
    """Reasons why the run will be hard to reproduce."""
    host: str = FIRST
    """Name of the host that asked the questions; earlier bundles are all of one."""

    @property
    def of_sweep(self) -> bool:
        """Whether it is a bundle of a sweep, and not of a single run."""
        return self.of == SWEEP

    @classmethod
    def from_dict(cls, values: JsonObject) -> BundleDescription:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""
        code = values.need_item("code")
        return cls(
            of=values.choice("of", (SWEEP, RUN)) or values.need_text("of"),
            made=values.text("made"),
            commands=_lists(values, "commands"),
            checkpoint=Checkpoint.from_dict(values.need_item("checkpoint")),
            points=values.mapping("points"),
            host_commands=values.mapping("host_commands"),
            versions=code.mapping("versions"),
            git_hash=code.text("git_hash"),
            python=code.text("python"),
            machine=values.mapping("machine") or None,
            warnings=values.texts("warnings"),
            host=values.choice("host", tuple(PACKAGES)) or FIRST,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it is stored; the order of keys is a part of the format."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "of": self.of,
            **({"host": self.host} if self.host != FIRST else {}),
            "made": self.made,
            "commands": self.commands,
            "checkpoint": self.checkpoint.to_dict(),
            "points": dict(self.points),
            "host_commands": dict(self.host_commands),
            "code": {
                "versions": dict(self.versions),
                "git_hash": self.git_hash,
                "python": self.python,
            },
            "machine": self.machine,
            "images": IMAGES,
            "warnings": list(self.warnings),
        }


def _lists(values: JsonObject, key: str) -> list[list[str]]:
    found = values.values.get(key)
    if not isinstance(found, list) or not all(isinstance(one, list) for one in found):
        message = f"{key} is not a list of commands"
        raise DataError(message)
    return found
