"""Unpacks a bundle and checks it: nothing in it is trusted before its checksums agree."""

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
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import sha256_of
from moe_eval_plugin.hosts.lmms_eval.command import PROGRAM
from moe_eval_plugin.publish.bundle.commands import OUTPUT
from moe_eval_plugin.publish.bundle.commands import SWEEP as SWEEP_COMMAND
from moe_eval_plugin.publish.bundle.contents import FILES, KIND, RUN, SCHEMA_VERSION, SWEEP
from moe_eval_plugin.publish.bundle.pack import ABOUT, LOCK, README, ROOT, SUMS

if TYPE_CHECKING:
    from collections.abc import Iterator

SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")
NEEDED = (ABOUT, LOCK, README)
CHUNK_BYTES = 2**20
STAGING = ".bundle-"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was unpacked into ``folder`` and agrees with its checksums."""

    folder: Path
    about: dict[str, Any]

    @property
    def files(self) -> Path:
        """The folder with the results, in which they can be read like any others."""
        return self.folder / FILES

    @property
    def of_sweep(self) -> bool:
        """Tell whether a sweep was packed, and not a single run."""
        return bool(self.about["of"] == SWEEP)

    @property
    def commands(self) -> list[list[str]]:
        """The commands that make it again, with ``repeat.OUTPUT`` for the folder."""
        return [list(command) for command in self.about["commands"]]

    @property
    def lock(self) -> str:
        """The environment that it was packed in."""
        return (self.folder / LOCK).read_text("utf-8")


def unpack(path: Path, folder: Path) -> Bundle:
    """Unpack an archive and check it; what is at ``folder`` already is replaced.

    Raises ``DataError`` for what is no bundle, is cut off, was changed, or would write anywhere
    else; then nothing is left there.
    """
    is_new = not folder.parent.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder.parent) as staging:
            _extract(path, Path(staging))
            root = Path(staging, ROOT)
            _check_sums(path, root)
            about = _read_about(path, root)
            shutil.rmtree(folder, ignore_errors=True)
            root.replace(folder)
    except OSError as error:
        message = f"{path} cannot be unpacked: {error}. Look at the path, or name an --output."
        raise DataError(message) from error
    finally:
        if is_new:  # it stays unless it is empty: then nothing was unpacked
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
    return Bundle(folder, about)


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
            f"{path} is no whole bundle: {error}. It was cut off or damaged on its way, or is "
            "something else. Get it again, and compare its sha256sum with the published one."
        )
        raise DataError(message) from error


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files; anything that a bundle never holds is refused, whatever tar makes of it."""
    seen: set[str] = set()
    for member in archive:
        parts = member.name.split("/")
        inside = parts[0] == ROOT and len(parts) > 1 and not {"", ".", ".."} & set(parts)
        if not (inside and member.isreg()) or member.name in seen:
            message = (
                f"{path} holds {member.name!r}, which no bundle does: it has plain files in "
                f"{ROOT}/, each once. Do not unpack it by other means; get it from its authors."
            )
            raise DataError(message)
        seen.add(member.name)
        yield member


def _check_sums(path: Path, root: Path) -> None:
    """Compare each file with its checksum; ``DataError`` names all that do not agree."""
    known = _read_sums(path, root / SUMS)
    found = {
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root)
        for name in names
    } - {SUMS}
    faults = [f"{name}: is missing" for name in sorted({*known, *NEEDED} - found)]
    faults += [f"{name}: has no checksum" for name in sorted(found - set(known))]
    faults += [
        f"{name}: was changed"
        for name in sorted(found & set(known))
        if sha256_of(root / name) != known[name]
    ]
    if faults:
        listed = "\n  ".join(faults)
        message = (
            f"{path} does not agree with its checksums:\n  {listed}\nIt is not what was packed. "
            "Get it again from its authors."
        )
        raise DataError(message)


def _read_sums(path: Path, sums: Path) -> dict[str, str]:
    try:
        with sums.open(encoding="utf-8") as lines:
            found = [SUM.fullmatch(line.rstrip("\n")) for line in lines]
    except (FileNotFoundError, UnicodeDecodeError):
        found = [None]
    if None in found:
        message = (
            f"{path} has no {SUMS} that can be read, so it is no bundle of moe-eval. Give a file "
            "that `moe-eval bundle` wrote."
        )
        raise DataError(message)
    return {match.group(2): match.group(1) for match in found if match is not None}


def _read_about(path: Path, root: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((root / ABOUT).read_text("utf-8"))
        if about["schema_version"] != SCHEMA_VERSION or about["kind"] != KIND:
            message = (
                f"{path} is a bundle of version {about['schema_version']}, and this package reads "
                f"version {SCHEMA_VERSION}. Install the moe-eval-plugin that it names."
            )
            raise DataError(message)
        fits = about["of"] in {SWEEP, RUN} and all(map(_is_ours, about["commands"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"{ABOUT} of {path} is not as `moe-eval bundle` writes it: {error!r}. Get the bundle "
            "again from its authors."
        )
        raise DataError(message) from error
    if not (fits and about["commands"]):
        message = (
            f"{path} names a command other than `moe-eval sweep` and `lmms-eval`, or one that "
            "writes elsewhere, and nothing else is run. Get the bundle again from its authors."
        )
        raise DataError(message)
    return about


def _is_ours(command: list[str]) -> bool:
    """Tell whether a command is one that a bundle may name: it is about to be run."""
    texts = all(isinstance(part, str) for part in command)
    known = tuple(command[:2]) == SWEEP_COMMAND or command[:1] == [PROGRAM]
    return texts and known and command.count(OUTPUT) == 1 and command[-1] == OUTPUT
