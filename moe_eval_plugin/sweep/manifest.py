"""The manifest of a sweep: what is done, what failed and why, and with which settings.

``manifest.json`` lies in the sweep's folder and is written atomically after each change, so that a
killed sweep finds it whole. Only one process may work in a folder; a lock of the operating system
sees to that, and ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.sweep.plan import SweepPoint

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LOCK = ".lock"
State = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True)
class Entry:
    """What is known of one point.

    ``point`` holds its fields as plain data. ``results`` is the path of its results file within
    the sweep's folder. ``began`` is a time in UTC, ``seconds`` is how long the point took in the
    last process that worked on it. ``reason`` tells why a point failed.
    """

    point: Mapping[str, Any]
    digest: str
    state: State = "pending"
    results: str | None = None
    reason: str | None = None
    began: str | None = None
    seconds: float | None = None
    n_attempts: int = 0

    def begin(self) -> Entry:
        """Begin to work on the point now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fresh = Entry(self.point, self.digest)
        return replace(fresh, state="running", began=now, n_attempts=self.n_attempts + 1)


@dataclass
class Manifest:
    """The manifest in memory; each change is written at once.

    ``settings`` are what all points have in common, by name. ``command`` repeats the sweep.
    """

    folder: Path
    settings: Mapping[str, Any]
    command: tuple[str, ...] = ()
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def has_done(self) -> bool:
        """Tell whether any point is done."""
        return any(entry.state == "done" for entry in self.entries.values())

    def entry(self, name: str) -> Entry:
        """Return what is known of a point."""
        return self.entries[name]

    def change(self, name: str, entry: Entry) -> None:
        """Take over what is new about a point, and write the manifest."""
        self.entries[name] = entry
        self.save()

    def results_path(self, name: str) -> Path | None:
        """Return the results file of a point that is done; ``None`` if the file is gone."""
        entry = self.entries[name]
        path = self.folder / entry.results if entry.state == "done" and entry.results else None
        return path if path is not None and path.is_file() else None

    def to_dict(self) -> dict[str, Any]:
        """Give the manifest as it is stored."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "sweep",
            "command": list(self.command),
            "settings": dict(self.settings),
            "points": {name: asdict(entry) for name, entry in self.entries.items()},
        }

    def save(self) -> None:
        """Write the manifest: whole, or not at all. Raises ``DataError``."""
        path = self.folder / MANIFEST
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, f"{text}\n")
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}. Name another folder: --output."
            raise DataError(message) from error

    def take_points(self, points: tuple[SweepPoint, ...]) -> None:
        """Add the points that are new, in their order; what was interrupted is pending again."""
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
                f"{path} has version {content['schema_version']} of its form, and this package "
                f"reads version {SCHEMA_VERSION}. Sweep into another folder."
            )
            raise DataError(message)
        entries = {name: Entry(**entry) for name, entry in content["points"].items()}
        return Manifest(folder, content["settings"], tuple(content["command"]), entries)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"{path} is no manifest of a sweep: {error!r}. Sweep into another folder, or move "
            "this one away."
        )
        raise DataError(message) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of a sweep, so that no other process works in it; raises ``UserError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+")
    except OSError as error:
        message = f"{folder} cannot be written to: {error}. Name another folder with --output."
        raise DataError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            message = (
                f"Another sweep is at work in {folder} (process {lock.read().strip()}). Wait for "
                "it, end it, or name another folder with --output."
            )
            raise UserError(message) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings that are not what they were, as ``name: before -> now``."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names]
