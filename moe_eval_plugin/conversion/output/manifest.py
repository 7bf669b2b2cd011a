"""The manifest of a conversion: checksums of what was read and written, versions, the model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.conversion.options import Megabytes
from moe_eval_plugin.conversion.torch_dist.folder import BACKENDS, COMMON, METADATA, inside
from moe_eval_plugin.errors import BrokenCheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from moe_eval_plugin.conversion.options import Progress

MANIFEST = "conversion.json"
SCHEMA = 1
PACKAGES = ("moe-eval-plugin", "torch")
BLOCK_BYTES = 2**22


@dataclass(frozen=True)
class SourceFiles:
    """The files that a conversion reads, as they were when it began."""

    folder: Path
    found: Mapping[str, tuple[int, int]]
    """Size in bytes and time of the last change in nanoseconds, by name."""

    @classmethod
    def of(cls, folder: Path, names: Iterable[str]) -> SourceFiles:
        """Return the files of these names, and those that describe them."""
        every = sorted({*names, METADATA, BACKENDS, COMMON})
        return cls(folder, {name: _state(inside(folder, name)) for name in every})

    def states(self) -> dict[str, list[int]]:
        """Return size and time of each file, by which an unfinished conversion is recognised."""
        return {name: list(state) for name, state in self.found.items()}

    def digests(self, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return size and SHA-256 of each file."""
        n_bytes = sum(size for size, _ in self.found.values())
        counter = Megabytes(progress, "computing checksums of the source", n_bytes)
        return {
            name: {"bytes": size, "sha256": _sha256(inside(self.folder, name), counter.add)}
            for name, (size, _) in self.found.items()
        }

    def check_unchanged(self) -> None:
        """Raise ``BrokenCheckpointError`` if a file changed since the conversion began."""
        for name, state in self.found.items():
            if _state(inside(self.folder, name)) != state:
                message = (
                    f"{self.folder / name} changed while it was converted. Wait until nothing "
                    "writes to it, then convert it again with --restart."
                )
                raise BrokenCheckpointError(message)


def manifest_text(
    source: Mapping[str, Any], finished: Mapping[str, str], facts: Mapping[str, Any]
) -> str:
    """Return the manifest as JSON; ``finished`` has the SHA-256 of each file that was written."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    content = {
        "schema_version": SCHEMA,
        **facts,
        "versions": {**versions, "python": platform.python_version()},
        "source": source,
        "files": {name: {"sha256": finished[name]} for name in sorted(finished)},
    }
    return f"{json.dumps(content, indent=2)}\n"


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _sha256(path: Path, count: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            count(len(block))
    return digest.hexdigest()
