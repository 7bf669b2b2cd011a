"""Exporters: a finished run in the file format of another tool or of a leaderboard.

The formats of this package come in through ``moe_eval_register_exporters``, the hook that plugins
use. An exporter only makes the text of files; they are written here, all of them or none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moe_eval_plugin.runs import Run


@dataclass(frozen=True)
class Exported:
    """What an exporter made: the text of each file by its name, and what there is to say.

    A name may lead into folders, as in ``results/run.json``; it never leads out.
    """

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exporter:
    """A file format.

    ``name`` stands behind ``--format`` and ``summary`` in its help. ``export`` takes the runs and
    the task that was asked for, ``None`` for all of them, and raises ``DataError`` if the runs
    lack something that the format needs.
    """

    name: str
    summary: str
    export: Callable[[Sequence[Run], str | None], Exported]


class IncompleteRunError(DataError):
    """A run does not hold what a format needs; the message names the first few faults.

    ``faults`` has a line for each of them.
    """

    def __init__(self, message: str, faults: Sequence[str]) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


def find_exporter(name: str) -> Exporter:
    """Find a registered exporter; ``InvalidArgumentError`` names those that exist."""
    from moe_eval_plugin.plugins import registered_exporters

    known = registered_exporters()
    if name not in known:
        message = (
            f"--format {name} is not known. Use one of: {', '.join(sorted(known))}. "
            "`moe-eval export --format` says what each of them is."
        )
        raise InvalidArgumentError(message)
    return known[name]


def render_formats() -> str:
    """List every registered exporter with its summary, for a terminal."""
    from moe_eval_plugin.plugins import registered_exporters

    known = registered_exporters()
    width = max(map(len, known), default=0)
    return "\n".join(f"{name.ljust(width)}  {known[name].summary}" for name in sorted(known))


def common_folder(runs: Iterable[Run]) -> Path:
    """Return the folder of a results file, or the deepest one that holds those of all runs."""
    return Path(os.path.commonpath([run.path.resolve().parent for run in runs]))


def write_files(files: Mapping[str, str], folder: Path, *, force: bool = False) -> list[Path]:
    """Write files as UTF-8 into a folder, all of them or none, and return their paths.

    A file that exists is replaced with ``force``, and otherwise an ``InvalidArgumentError``.
    Raises ``DataError`` for a name that leads out of the folder, text that is not Unicode, and a
    folder that cannot be written to; then everything is as it was.
    """
    content = {folder / _inside(name): _encode(name, text) for name, text in files.items()}
    there = [path for path in content if path.exists()]
    if there and not force:
        names = "\n  ".join(map(str, there))
        message = f"This would overwrite:\n  {names}\nAdd --force, or name a folder with --output."
        raise InvalidArgumentError(message)
    try:
        with ExitStack() as undo:
            _make_folder(folder, undo)
            _write_all(content, folder)
            undo.pop_all()
    except OSError as error:
        message = f"Nothing was written to {folder}: {error}. Name another folder with --output."
        raise DataError(message) from error
    return list(content)


def _inside(name: str) -> PurePath:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        message = f"An exporter named a file {name!r}, which is not inside the folder it writes to."
        raise DataError(message)
    return path


def _encode(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"{name} cannot be written as UTF-8: {error}. Run the evaluation again."
        raise DataError(message) from error


def _write_all(content: Mapping[Path, bytes], folder: Path) -> None:
    """Write all files beside their places first; a fault puts back what was there before."""
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as staging, ExitStack() as undo:
        staged = [Path(staging, str(number)) for number in range(len(content))]
        for path, data in zip(staged, content.values(), strict=True):
            path.write_bytes(data)
        for ready, path in zip(staged, content, strict=True):
            _make_folder(path.parent, undo)
            if path.exists():
                before = shutil.copy2(path, ready.with_suffix(".before"))
                undo.callback(os.replace, before, path)
            else:
                undo.callback(path.unlink, missing_ok=True)
            ready.replace(path)
        undo.pop_all()


def _make_folder(folder: Path, undo: ExitStack) -> None:
    """Make a folder and those above it; ``undo`` removes the ones that were not there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        undo.callback(path.rmdir)
