"""Digest the questions of a sweep with their pictures, which may change under the same names.

A picture is read once. Later its size and times of last change are compared, and it is read again
where these differ: so a copy with the same content is the same data. What is known of files is kept
in the folder of the sweep, in ``data.json``.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.files import SHORT_DIGEST_DIGITS, file_state, sha256_of, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DATA = "data.json"
SCHEMA_VERSION = 1
ROWS_AT_ONCE = 256


class DataContent:
    """What is known of the files that questions name: SHA-256, and the ``file_state`` it is of."""

    def __init__(self, known: Mapping[str, tuple[str, list[int]]] | None = None) -> None:
        self._known = dict(known or {})
        self._found: dict[str, tuple[str, list[int]]] = {}
        # What each text stands for: several questions are about one picture.
        self._texts: dict[str, str] = {}

    @classmethod
    def load(cls, folder: Path) -> DataContent:
        """Read what is known in the folder of a sweep; nothing where that cannot be read."""
        try:
            content = json.loads((folder / DATA).read_text("utf-8"))
            if content["schema_version"] != SCHEMA_VERSION:
                return cls()
            return cls(
                {path: (digest, state) for path, (digest, *state) in content["files"].items()}
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, folder: Path) -> None:
        """Write what was found to the folder of a sweep."""
        files = {path: [digest, *state] for path, (digest, state) in self._found.items()}
        content = {"schema_version": SCHEMA_VERSION, "files": files}
        write_whole(folder / DATA, json.dumps(content) + "\n")

    def changed(self) -> list[str]:
        """List the files whose content differs from what was known."""
        return [
            path
            for path, (digest, _) in self._found.items()
            if path in self._known and self._known[path][0] != digest
        ]

    def changed_since(self) -> list[str]:
        """List the files whose content is not what was digested; few are read for it."""
        return [path for path, found in self._found.items() if not _is_still(Path(path), *found)]

    def digest(self, documents: Iterable[Any], limit: int | None) -> str:
        """Return a digest of the first documents of a task, ``limit`` at most, and their pictures.

        Neither pictures nor sounds are decoded. A text counts as a file if it is the path of one.
        """
        digest = hashlib.sha256()
        for row in islice(_rows(documents), limit):
            text = json.dumps(self._plain(row), sort_keys=True, default=_text)
            digest.update(f"{len(text)} {text}".encode())
        return digest.hexdigest()[:SHORT_DIGEST_DIGITS]

    def _plain(self, value: Any) -> Any:  # noqa: ANN401  (a value of a document)
        if isinstance(value, dict):
            return {str(name): self._plain(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(one) for one in value]
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        if hasattr(value, "tobytes"):  # an image of Pillow, or an array
            facts = [str(getattr(value, name, "")) for name in ("mode", "size", "shape", "dtype")]
            return [*facts, hashlib.sha256(value.tobytes()).hexdigest()]
        if isinstance(value, str) and "/" in value and "\n" not in value:
            if value not in self._texts:
                self._texts[value] = self._file(value)
            return self._texts[value]
        return value

    def _file(self, text: str) -> str:
        """Return name and digest of the file that a text is the path of; else the text."""
        path = Path(text)
        try:
            if not path.is_file():
                return text
            state = file_state(path)
            found = self._known.get(text)
            if found is None or found[1] != state:
                found = (sha256_of(path), state)
        except (OSError, ValueError):
            return text
        self._found[text] = found
        return f"{path.name} {found[0]}"


def _is_still(path: Path, digest: str, state: list[int]) -> bool:
    try:
        return file_state(path) == state or sha256_of(path) == digest
    except OSError:
        return False


def _rows(documents: Any) -> Iterable[Any]:  # noqa: ANN401  (of ``datasets``, or a list)
    """Yield documents as they are stored: images of ``datasets`` as bytes and path."""
    if not hasattr(documents, "with_format"):
        yield from documents
        return
    for batch in documents.with_format("arrow").iter(ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _text(value: object) -> str:
    """Write a value that JSON does not have: a date, a decimal."""
    return f"{type(value).__name__} {value}" if _has_text(value) else type(value).__name__


def _has_text(value: object) -> bool:
    """Whether the text of a value says more than its address."""
    return type(value).__str__ is not object.__str__ or type(value).__repr__ is not object.__repr__
