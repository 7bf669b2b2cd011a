"""A folder that is written next to its final place, and appears there when it is complete."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError, UserError
from moe_eval_plugin.files import sha256_of, write_whole
from moe_eval_plugin.text import first_few

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SUFFIX = ".partial"
STATE = "unfinished.json"
LOCK = ".lock"
RESTART = "Add --restart to delete it and begin again, or choose another output folder."


@dataclass(frozen=True)
class PartialFolder:
    """A folder being written, with a record of the files in it that are complete."""

    output: Path
    """Where it goes when it is complete."""
    folder: Path
    """Where it is now."""
    settings: Mapping[str, Any]
    """What its content follows from: a folder of other settings is not continued."""
    finished: dict[str, str]
    """The SHA-256 of each complete file, by name."""

    def is_complete(self, name: str, count: Callable[[int], None]) -> bool:
        """Whether a file was finished earlier and has its checksum; ``count`` gets its bytes."""
        path = self.folder / name
        if name not in self.finished or not path.is_file():
            return False
        if sha256_of(path) != self.finished[name]:
            del self.finished[name]
            return False
        count(path.stat().st_size)
        return True

    def add(self, name: str, digest: str) -> None:
        """Record that a file is complete."""
        self.finished[name] = digest
        content = {"settings": self.settings, "finished": self.finished}
        write_whole(self.folder / STATE, f"{json.dumps(content, indent=2)}\n")

    def complete(self) -> None:
        """Move the folder to its final place."""
        (self.folder / STATE).unlink(missing_ok=True)
        (self.folder / LOCK).unlink(missing_ok=True)
        self.folder.rename(self.output)


@contextmanager
def partial_folder(
    output: Path, settings: Mapping[str, Any], *, restart: bool = False
) -> Iterator[PartialFolder]:
    """Yield the folder to write into: a new one, or that of an interrupted run, locked.

    It stays where it is after an error, so that the next run can continue it, unless nothing in it
    is complete. Raises ``InvalidArgumentError`` if it belongs to other settings, ``UserError`` if
    another process writes it, and ``DataError`` if it cannot be written.
    """
    folder = partial_path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("a") as lock:
            _lock(lock.fileno(), folder)
            found = PartialFolder(output, folder, settings, _finished(folder, settings, restart))
            _clean(found)
            try:
                yield found
            finally:
                if folder.is_dir() and not found.finished:
                    shutil.rmtree(folder)
    except OSError as error:
        message = f"{folder} cannot be written: {error}. Free space, or choose another folder."
        raise DataError(message) from error


def partial_path(output: Path) -> Path:
    """Return the path at which a folder is written before it is complete."""
    whole = output.absolute()
    return whole.with_name(f"{whole.name}{SUFFIX}")


def check_new(output: Path) -> None:
    """Raise ``InvalidArgumentError`` if there is something at a path, or it has no name."""
    if not output.absolute().name or output.name == "..":
        message = f"{output} is not possible. Name the folder to write."
        raise InvalidArgumentError(message)
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        message = f"{output} exists. Choose another folder, or delete it first."
        raise InvalidArgumentError(message)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"Another process writes {folder}. Wait for it, or choose another output folder."
        raise UserError(message) from error


def _finished(folder: Path, settings: Mapping[str, Any], restart: bool) -> dict[str, str]:  # noqa: FBT001  (passed on)
    """Return the complete files of an earlier run with these settings."""
    if restart or not (folder / STATE).is_file():
        return {}
    try:
        content = json.loads((folder / STATE).read_bytes())
        before, finished = content["settings"], dict(content["finished"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"{folder / STATE} cannot be read. {RESTART}"
        raise InvalidArgumentError(message) from error
    now = json.loads(json.dumps(settings))
    if before != now:
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        message = (
            f"{folder} holds an unfinished conversion with another {first_few(names)}. {RESTART}"
        )
        raise InvalidArgumentError(message)
    return finished


def _clean(found: PartialFolder) -> None:
    """Delete what an earlier run did not finish."""
    for path in found.folder.iterdir():
        if path.name not in {*found.finished, STATE, LOCK}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
