"""Read the entries of a long list in a JSON file one by one.

A file is read in pieces, so that its size does not matter. Its encoding is checked and its hash is
computed on the way.
"""

from __future__ import annotations

import codecs
import hashlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE_BYTES = 64 * 1024

Json = dict[str, object]


class EntryReader:
    """Iterates over the entries of the list under ``key`` of a JSON file.

    ``progress`` is called with the number of bytes of each piece. ``sha256`` is set after the last
    entry. Iterating raises ``DataError`` for a file that is not UTF-8 text, not complete JSON, or
    of another form.
    """

    def __init__(
        self, path: Path, key: str, progress: Callable[[int], object] | None = None
    ) -> None:
        self.path = path
        self.key = key
        self.sha256 = ""
        self._progress = progress

    def __iter__(self) -> Iterator[Json]:
        """Yield the entries, from the beginning of the file."""
        import ijson

        n_entries = 0
        with _errors_of(self.path), self.path.open("rb") as file:
            text = _CheckedText(self.path, file, self._progress)
            prefix = f"{self.key}.item"
            for entry in ijson.items(text, prefix, use_float=True, buf_size=PIECE_BYTES):
                if not isinstance(entry, dict):
                    raise self._other_form()
                n_entries += 1
                yield entry
        if not n_entries:
            raise self._other_form()
        self.sha256 = text.sha256()

    def _other_form(self) -> DataError:
        return DataError(
            f"{self.path} has an unexpected form: the official file is a JSON object with a list "
            f'"{self.key}" of one or more objects. This file is {_outline(self.path)}. '
            "Use the official file."
        )


def read_value(path: Path, key: str) -> object:
    """Return the first value under ``key`` of a JSON file; ``None`` if there is none.

    Reads no further than that value. Raises ``DataError`` as an ``EntryReader`` does.
    """
    import ijson

    with _errors_of(path), path.open("rb") as file:
        text = _CheckedText(path, file)
        return next(ijson.items(text, key, use_float=True, buf_size=PIECE_BYTES), None)


class _CheckedText:
    """A file as a parser reads it: without a byte order mark, and checked to be UTF-8."""

    def __init__(
        self, path: Path, file: BinaryIO, progress: Callable[[int], object] | None = None
    ) -> None:
        self._path = path
        self._file = file
        self._progress = progress
        self._digest = hashlib.sha256()
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def sha256(self) -> str:
        """Return the hash of what was read."""
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        """Return the next piece of the text; it is empty only at the end."""
        start = self._file.tell()
        piece = self._file.read(size)
        self._digest.update(piece)
        self._check(piece, start)
        if self._progress is not None:
            self._progress(len(piece))
        return piece if start else piece.removeprefix(codecs.BOM_UTF8)

    def _check(self, piece: bytes, start: int) -> None:
        """Raise ``DataError`` for another encoding; the piece begins at byte ``start``."""
        n_pending = len(self._decoder.getstate()[0])
        wide = start == 0 and b"\0" in piece[: len(codecs.BOM_UTF32_LE)]
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError as error:
            where = start - n_pending + error.start
            fault = f"the byte 0x{error.object[error.start]:02x} at offset {where:,}"
        else:
            if not wide:
                return
            fault = "it begins like UTF-16"
        message = (
            f"{self._path} is not UTF-8 text: {fault}. The official file is UTF-8. Download it "
            "again, unpack it if it is packed, and do not save it with another program."
        )
        raise DataError(message)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Raise ``DataError`` for a file that cannot be read, or is not JSON."""
    import ijson

    try:
        yield
    except OSError as error:
        message = f"{path} cannot be read: {error}. Put the official file there."
        raise DataError(message) from error
    except ijson.JSONError as error:
        message = (
            f"{path} is not complete JSON: {_first_line(error)}. It has "
            f"{path.stat().st_size:,} bytes; it may be truncated, or have something after its "
            "end. Download it again."
        )
        raise DataError(message) from error


def _first_line(error: Exception) -> str:
    """Return the message of a parser, without the excerpt of the text that follows it."""
    reason = error.args[0]
    # It is bytes where the excerpt begins within a character.
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return text.splitlines()[0].rstrip(".")


def _outline(path: Path) -> str:
    """Return a description of the outermost value: its keys, or those of its first entry."""
    import ijson

    keys: list[str] = []
    with path.open("rb") as file, suppress(ijson.JSONError):
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        events = ijson.parse(file)
        _, first_event, _ = next(events)
        level = "item" if first_event == "start_array" else ""
        for prefix, event, value in events:
            if prefix == level and event == "map_key":
                keys.append(value)
            elif prefix == level and event == "end_map":
                break
    if first_event == "start_map":
        return f"an object with the keys {', '.join(keys) or '(none)'}"
    if first_event != "start_array":
        return "a single value"
    return f"a list of objects with the keys {', '.join(keys)}" if keys else "a list"
