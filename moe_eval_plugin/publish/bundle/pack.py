"""Write a bundle: one archive, the same bytes for the same contents."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import replacing, sha256_of
from moe_eval_plugin.publish.bundle.readme import readme_text
from moe_eval_plugin.publish.bundle.secrets import raise_if_secrets
from moe_eval_plugin.publish.bundle.study import study_texts
from moe_eval_plugin.results.files import is_results_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from moe_eval_plugin.publish.bundle.contents import Contents

# The folder in the archive; it does not depend on the archive's name.
ROOT = "moe-eval-bundle"
DESCRIPTION = "bundle.json"
LOCK_FILE = "requirements.txt"
README = "README.md"
CHECKSUMS = "SHA256SUMS"
FILE_MODE = 0o644
# Level 9 saves a few percent, and takes three times as long.
COMPRESSION_LEVEL = 6


def pack(contents: Contents, lock: str, output: Path, *, force: bool = False) -> str:
    """Write the archive, whole or not at all, and return its SHA-256.

    Raises ``DataError`` if a file holds a secret or cannot be read or written, and
    ``InvalidArgumentError`` if the archive exists and ``force`` is not set.
    """
    if output.exists() and not force:
        message = f"{output} exists. Add --force, or choose another file with --output."
        raise InvalidArgumentError(message)
    described = contents.description
    text = json.dumps(described.to_dict(), indent=1, ensure_ascii=False) + "\n"
    texts = {DESCRIPTION: text, LOCK_FILE: lock, README: readme_text(described), **contents.texts}
    texts |= study_texts(described.commands) if described.of_sweep else {}
    try:
        _raise_if_secrets(contents, texts)
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as part:
            with part.open("wb") as file:
                _write(file, contents.files, {name: text.encode() for name, text in texts.items()})
            digest = sha256_of(part)
    except (OSError, UnicodeError) as error:
        message = f"{output} was not written: {error}. Choose another file with --output."
        raise DataError(message) from error
    return digest


def _raise_if_secrets(contents: Contents, texts: Mapping[str, str]) -> None:
    """Raise ``DataError`` if a file that records arguments of commands holds a secret.

    Answers of the model are not searched.
    """
    recorded = {
        name: path.read_text("utf-8")
        for name, path in contents.files.items()
        if is_results_file(path) or path.name.endswith("manifest.json")
    }
    raise_if_secrets({**recorded, **texts})


def _write(file: BinaryIO, files: Mapping[str, Path], texts: Mapping[str, bytes]) -> None:
    digests = {name: sha256_of(path) for name, path in files.items()}
    digests |= {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    sums = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()
    small = {**texts, CHECKSUMS: sums}
    # No name and no time in the header of the archive, or its bytes would differ each time.
    with (
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted({*files, *small}):
            if name in small:
                archive.addfile(_member(name, len(small[name])), io.BytesIO(small[name]))
            else:
                with files[name].open("rb") as content:
                    size = os.fstat(content.fileno()).st_size
                    archive.addfile(_member(name, size), content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return the header of a file, without its owner, permissions and times."""
    member = tarfile.TarInfo(f"{ROOT}/{name}")
    member.size, member.mode, member.mtime = size, FILE_MODE, 0
    return member
