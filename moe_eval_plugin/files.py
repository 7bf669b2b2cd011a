"""Write files whole or not at all, and compute digests of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


_Content = TypeVar("_Content")
SHORT_DIGEST_DIGITS = 12
SMALL_FILE_BYTES = 64 * 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; it replaces ``path`` after the block.

    After an exception ``path`` is as it was, and the temporary file is gone. Raises ``OSError`` if
    the file cannot be put there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_file(path: Path) -> bool:
    """Whether a path is a file; without an error where no file can have such a path."""
    return os.path.isfile(path)  # noqa: PTH113  (too long, for instance)


def write_whole(path: Path, text: str) -> None:
    """Write one file as UTF-8, whole or not at all; raises ``OSError``."""
    with replacing(path) as part:
        part.write_text(text, "utf-8")


def write_all(content: Mapping[Path, bytes], folder: Path) -> None:
    """Write several files below a folder, in their order: all of them or none.

    Folders are made where they are missing. Raises ``OSError``; then everything is as it was.
    """
    with ExitStack() as undo:
        _make_folder(folder, undo)
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=folder) as staging:
            staged = [Path(staging, str(number)) for number in range(len(content))]
            for path, data in zip(staged, content.values(), strict=True):
                path.write_bytes(data)
            _replace_all(dict(zip(staged, content, strict=True)))
        undo.pop_all()


def write_files(files: Mapping[str, str], folder: Path, *, force: bool = False) -> list[Path]:
    """Write files as UTF-8 into a folder, all of them or none, and return their paths.

    A file that exists is replaced with ``force``, and otherwise an ``InvalidArgumentError``.
    Raises ``DataError`` for a name that leads out of the folder, text that is not Unicode, and a
    folder that cannot be written to; then everything is as it was.
    """
    content = {folder / _inside(name): _encode(name, text) for name, text in files.items()}
    existing = [path for path in content if path.exists()]
    if existing and not force:
        names = "\n  ".join(map(str, existing))
        message = (
            f"This would overwrite:\n  {names}\nAdd --force, or choose another folder with "
            "--output."
        )
        raise InvalidArgumentError(message)
    try:
        write_all(content, folder)
    except OSError as error:
        message = f"Nothing was written to {folder}: {error}. Choose another folder with --output."
        raise DataError(message) from error
    return list(content)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as ``sha256sum`` writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_state(path: str | Path) -> list[int]:
    """Return what changes when a file does: its size, times of last change, and number on the disk.

    Files that are written within a few milliseconds may have one time of modification, and a file
    that takes the name of another one keeps its own. Raises ``OSError``.
    """
    state = os.stat(path)  # noqa: PTH116  (a Path of a long text raises other errors)
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def short_digest(content: Any) -> str:  # noqa: ANN401  (anything that JSON can hold)
    """Return a short digest of plain data; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT_DIGEST_DIGITS]


def files_digest(folder: Path, pattern: str = "*") -> str | None:
    """Return a short digest of the files that match, by default those of the folder itself.

    Files of up to 64 MiB count by their content, larger ones by size and time of last change;
    hidden folders are left out. Returns ``None`` where no file matches.
    """
    digest, n_files = hashlib.sha256(), 0
    for path in sorted(path for path in folder.glob(pattern) if path.is_file()):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts[:-1]):
            continue
        n_files += 1
        state = path.stat()
        digest.update(f"{name.as_posix()} {state.st_size} ".encode())
        is_small = state.st_size <= SMALL_FILE_BYTES
        digest.update(path.read_bytes() if is_small else str(state.st_mtime_ns).encode())
    return digest.hexdigest()[:SHORT_DIGEST_DIGITS] if n_files else None


def _inside(name: str) -> PurePath:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        message = (
            f"An exporter returned the file name {name!r}, which is not inside the output folder."
        )
        raise DataError(message)
    return path


def _encode(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"{name} cannot be written as UTF-8: {error}. Run the evaluation again."
        raise DataError(message) from error


def _replace_all(staged: Mapping[Path, Path]) -> None:
    """Move finished files to their paths; an error restores the files that were there before."""
    with ExitStack() as undo:
        for ready, path in staged.items():
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


class JsonLines:
    """A file of JSON objects, one a line, that grows while a process may be killed.

    The first line is ``header``, which identifies what the lines are of. A file with another one
    is replaced by the first line that is appended.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        self._header = json.loads(json.dumps(header))
        self._n_bytes = 0

    @property
    def is_of_another(self) -> bool:
        """Whether there is a file, and it begins with another header."""
        return self._n_bytes == 0 and is_file(self._path) and self._path.stat().st_size > 0

    def read(self, parse: Callable[[dict[str, Any]], _Content | None]) -> list[_Content]:
        """Return what the lines hold, up to the first one that was cut off or damaged.

        ``parse`` returns ``None`` for a damaged one; whatever follows it is replaced.
        """
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        if not lines or _parse_line(lines[0]) != self._header:
            return []
        self._n_bytes = len(lines[0])
        found = []
        for line in lines[1:]:
            content = _parse_line(line)
            parsed = None if content is None else parse(content)
            if parsed is None:
                break
            found.append(parsed)
            self._n_bytes += len(line)
        return found

    def append(self, contents: Iterable[Mapping[str, Any]]) -> None:
        """Add lines; they are on the disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        begins = self._n_bytes == 0
        with self._path.open("wb" if begins else "r+b") as file:
            # What follows was being written when a process was killed.
            file.truncate(self._n_bytes)
            file.seek(self._n_bytes)
            for content in [*([self._header] if begins else []), *contents]:
                file.write(json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._n_bytes = file.tell()


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Read one line; ``None`` for one that was cut off or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
