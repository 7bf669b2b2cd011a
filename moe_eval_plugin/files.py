"""Write files whole or not at all, and compute digests of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


N_DIGITS = 12


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file, as ``sha256sum`` writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def short_digest(content: Any) -> str:  # noqa: ANN401  (anything that JSON can hold)
    """Give a short digest of plain data; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:N_DIGITS]
