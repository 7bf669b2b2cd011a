"""Unpack and check a bundle: nothing in it is used before its checksums agree."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import sha256_of
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.publish.bundle.commands import OUTPUT, host_of
from moe_eval_plugin.publish.bundle.contents import FILES
from moe_eval_plugin.publish.bundle.description import KIND, SCHEMA_VERSION, BundleDescription
from moe_eval_plugin.publish.bundle.pack import CHECKSUMS, DESCRIPTION, LOCK_FILE, README, ROOT
from moe_eval_plugin.text import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
REQUIRED_FILES = (DESCRIPTION, LOCK_FILE, README)
CHUNK_BYTES = MIB
STAGING_PREFIX = ".bundle-"
GZIP_BEGIN = b"\x1f\x8b"


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle that agrees with its checksums."""

    folder: Path
    description: BundleDescription

    @property
    def files(self) -> Path:
        """Folder of the results, which can be read like any other results."""
        return self.folder / FILES

    @property
    def lock(self) -> str:
        """Packages of the environment in which it was packed, as a lock file."""
        return (self.folder / LOCK_FILE).read_text("utf-8")


def unpack(path: Path, folder: Path) -> Bundle:
    """Unpack a bundle into ``folder``, check it, and return it; an existing folder is replaced.

    Raises ``DataError`` for a file that is no bundle, is truncated, was changed, or would write
    outside ``folder``; then nothing is left there.
    """
    _raise_if_no_file(path)
    is_new = not folder.parent.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=folder.parent) as staging:
            _extract(path, Path(staging))
            root = Path(staging, ROOT)
            _check_sums(path, root)
            description = _read_description(path, root)
            shutil.rmtree(folder, ignore_errors=True)
            root.replace(folder)
    except OSError as error:
        message = f"{path} cannot be unpacked into {folder}: {error}. Choose another --output."
        raise DataError(message) from error
    finally:
        if is_new:  # it stays unless it is empty: then nothing was unpacked
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
    return Bundle(folder, description)


def _raise_if_no_file(path: Path) -> None:
    if path.is_dir():
        message = f"{path} is a folder, not a bundle. Pack it first: `moe-eval bundle {path}`."
        raise DataError(message)
    if not path.exists():
        message = f"No such file: {path}. Pass a bundle made by `moe-eval bundle` (NAME.tar.gz)."
        raise DataError(message)
    with path.open("rb") as file:
        begin = file.read(len(GZIP_BEGIN))
    if begin not in (b"", GZIP_BEGIN):
        message = f"{path} is not a bundle. Pass a bundle made by `moe-eval bundle` (NAME.tar.gz)."
        raise DataError(message)


def _extract(path: Path, staging: Path) -> None:
    try:
        with gzip.open(path) as packed:
            with tarfile.open(fileobj=packed, mode="r:") as archive:
                for member in _members(path, archive):
                    archive.extract(member, staging, filter="data")
            # The checksum of the compressed stream is at its end, which tar does not read.
            while packed.read(CHUNK_BYTES):
                pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = (
            f"{path} is not a complete bundle: {error}. It was truncated or damaged in transfer, "
            "or is something else. Download it again, and compare its sha256sum with the published "
            "one."
        )
        raise DataError(message) from error


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files; raise ``DataError`` for anything that no bundle holds."""
    seen: set[str] = set()
    for member in archive:
        parts = member.name.split("/")
        inside = parts[0] == ROOT and len(parts) > 1 and not {"", ".", ".."} & set(parts)
        if not (inside and member.isreg()) or member.name in seen:
            message = (
                f"{path} holds {member.name!r}, but a bundle has only plain files in {ROOT}/, each "
                "once. Do not unpack it by other means; download it again from its authors."
            )
            raise DataError(message)
        seen.add(member.name)
        yield member


def _check_sums(path: Path, root: Path) -> None:
    """Compare each file with its checksum; ``DataError`` lists all that differ."""
    known = _read_sums(path, root / CHECKSUMS)
    found = {
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root)
        for name in names
    } - {CHECKSUMS}
    faults = [f"{name}: missing" for name in sorted({*known, *REQUIRED_FILES} - found)]
    faults += [f"{name}: no checksum" for name in sorted(found - set(known))]
    faults += [
        f"{name}: was changed"
        for name in sorted(found & set(known))
        if sha256_of(root / name) != known[name]
    ]
    if faults:
        listed = "\n  ".join(faults)
        message = (
            f"{path} does not agree with its checksums:\n  {listed}\nIt is not what was packed. "
            "Download it again from its authors."
        )
        raise DataError(message)


def _read_sums(path: Path, sums: Path) -> dict[str, str]:
    try:
        with sums.open(encoding="utf-8") as lines:
            found = [CHECKSUM_LINE.fullmatch(line.rstrip("\n")) for line in lines]
    except (FileNotFoundError, UnicodeDecodeError):
        found = [None]
    if None in found:
        message = (
            f"{path} has no readable {CHECKSUMS}, so it is not a bundle. Pass a bundle made by "
            "`moe-eval bundle` (NAME.tar.gz)."
        )
        raise DataError(message)
    return {match.group(2): match.group(1) for match in found if match is not None}


def _read_description(path: Path, root: Path) -> BundleDescription:
    try:
        stored = json.loads((root / DESCRIPTION).read_text("utf-8"))
        version, kind = stored["schema_version"], stored["kind"]
        is_known = (version, kind) == (SCHEMA_VERSION, KIND)
        found = BundleDescription.from_dict(JsonObject(stored, DESCRIPTION)) if is_known else None
    except (DataError, ValueError, KeyError, TypeError) as error:
        message = (
            f"{DESCRIPTION} of {path} is not in the format of `moe-eval bundle`: {error!r}. "
            "Download the bundle again from its authors."
        )
        raise DataError(message) from error
    if found is None:
        message = (
            f"{path} is a bundle of version {version}, and this package reads version "
            f"{SCHEMA_VERSION}. Install the moe-eval-plugin version that it lists."
        )
        raise DataError(message)
    if not (found.commands and all(map(_is_allowed, found.commands))):
        message = (
            f"{path} contains a command other than `moe-eval sweep`, `lmms-eval` and `moe-eval "
            "lm-eval run`, or one that writes elsewhere; such a command is never run. Download "
            "the bundle again from its authors."
        )
        raise DataError(message)
    return found


def _is_allowed(command: list[str]) -> bool:
    """Whether a command is one that a bundle may contain: it is about to be run."""
    texts = all(isinstance(part, str) for part in command)
    ends_well = command.count(OUTPUT) == 1 and command[-1] == OUTPUT
    return texts and ends_well and host_of(command) is not None
