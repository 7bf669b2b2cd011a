"""The manifest of a sweep: what is done, what failed and why, and with which settings.

``manifest.json`` in the sweep's folder is written atomically after each change, so that it is
always complete, even after a kill. Only one process may work in a folder: it holds a lock of the
operating system, which ends with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.hosts.harness import FIRST
from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.sweeps.plan import SweepPoint

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LOCK = ".lock"
State = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True)
class Entry:
    """The state of one point."""

    point: Mapping[str, Any]
    """The fields of its ``SweepPoint``, as plain data."""
    digest: str
    """Digest of everything that its numbers depend on."""
    state: State = "pending"
    """``pending``, ``running``, ``done`` or ``failed``."""
    results: str | None = None
    """Path of its results file within the sweep's folder."""
    reason: str | None = None
    """Why it failed."""
    began: str | None = None
    """When its last attempt began, in UTC."""
    seconds: float | None = None
    """How long its last attempt took."""
    n_attempts: int = 0
    """Attempts so far."""

    @classmethod
    def from_dict(cls, stored: JsonObject) -> Entry:
        """Read an entry as it is stored. Raises ``DataError``."""
        return cls(
            point=stored.mapping("point"),
            digest=stored.need_text("digest"),
            state=stored.choice("state", get_args(State)) or "pending",
            results=stored.text("results"),
            reason=stored.text("reason"),
            began=stored.text("began"),
            seconds=stored.number("seconds"),
            n_attempts=stored.integer("n_attempts") or 0,
        )

    def begin(self) -> Entry:
        """Return the entry of a new attempt that begins now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fresh = Entry(self.point, self.digest)
        return replace(fresh, state="running", began=now, n_attempts=self.n_attempts + 1)


@dataclass
class Manifest:
    """The manifest in memory; each change is written at once.

    ``settings`` are equal for all points, by name. ``command`` repeats the sweep. ``warnings`` are
    those of all its runs, each once.
    """

    folder: Path
    settings: Mapping[str, Any]
    command: tuple[str, ...] = ()
    entries: dict[str, Entry] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def has_done(self) -> bool:
        """Whether any point is done."""
        return any(entry.state == "done" for entry in self.entries.values())

    @property
    def host(self) -> str:
        """The harness of all points; lmms-eval where it was written before there were two."""
        return str(self.settings.get("host", FIRST))

    def entry(self, name: str) -> Entry:
        """Return the entry of a point."""
        return self.entries[name]

    def change(self, name: str, entry: Entry) -> None:
        """Replace the entry of a point, and write the manifest."""
        self.entries[name] = entry
        self.save()

    def results_path(self, name: str) -> Path | None:
        """Return the results file of a point that is done; ``None`` if the file is gone."""
        entry = self.entries[name]
        path = self.folder / entry.results if entry.state == "done" and entry.results else None
        return path if path is not None and path.is_file() else None

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as it is stored."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "sweep",
            "command": list(self.command),
            "settings": dict(self.settings),
            "points": {name: asdict(entry) for name, entry in self.entries.items()},
            "warnings": list(self.warnings),
        }

    def add_warnings(self, texts: Iterable[str]) -> None:
        """Add warnings that are not there yet, and write the manifest if there were any."""
        together = tuple(dict.fromkeys([*self.warnings, *texts]))
        if together != self.warnings:
            self.warnings = together
            self.save()

    def save(self) -> None:
        """Write the manifest: whole, or not at all. Raises ``DataError``."""
        path = self.folder / MANIFEST
        text = json.dumps(self.to_dict(), indent=1)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, f"{text}\n")
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}. Pass another folder: --output."
            raise DataError(message) from error

    def take_points(self, points: tuple[SweepPoint, ...]) -> None:
        """Add new points, in their order; interrupted ones are pending again."""
        for point in points:
            digest = point.digest(self.settings)
            known = self.entries.get(point.name)
            fresh = Entry(point.to_dict(), digest)
            if known is None or known.digest != digest:
                self.entries[point.name] = fresh
            elif self.results_path(point.name) is None:
                self.entries[point.name] = replace(fresh, n_attempts=known.n_attempts)
        ours = [point.name for point in points]
        order = [*ours, *(name for name in self.entries if name not in ours)]
        self.entries = {name: self.entries[name] for name in order}


def load_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a sweep; ``None`` where there is none. Raises ``DataError``."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["schema_version"] != SCHEMA_VERSION or content["kind"] != "sweep":
            message = (
                f"{path} has schema version {content['schema_version']}, and this package reads "
                f"version {SCHEMA_VERSION}. Sweep into another folder."
            )
            raise DataError(message)
        stored, points = JsonObject(content, str(path)), JsonObject(content["points"], str(path))
        entries = {name: Entry.from_dict(points.need_item(name)) for name in points.values}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = (
            f"{path} is not the manifest of a sweep: {error!r}. Sweep into another folder, or move "
            "this one."
        )
        raise DataError(message) from error
    known = stored.mapping("settings"), stored.texts("command"), entries, stored.texts("warnings")
    return Manifest(folder, *known)


@contextmanager
def locked(folder: Path, work: str = "sweep") -> Iterator[None]:
    """Lock the folder of some work; raises ``UserError`` if another process works in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+")
    except OSError as error:
        message = f"{folder} cannot be written to: {error}. Pass another folder with --output."
        raise DataError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            message = (
                f"Another {work} runs in {folder} (process {lock.read().strip()}). Wait for it, "
                "end it, or pass another folder with --output."
            )
            raise UserError(message) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings that changed, as ``name: before -> now``."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names]
