"""Bundles with any content are unpacked, or refused with an error of ours and nothing left."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.publish.bundle.pack import CHECKSUMS, DESCRIPTION, ROOT
from moe_eval_plugin.publish.bundle.unpack import unpack
from tests.fuzz.mutations import Readers, as_json, changed_json, damaged_bytes

BUNDLE = (Path(__file__).parents[1] / "data" / "before_0_2" / "sweep.tar.gz").read_bytes()


def members(bundle: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


FILES = members(BUNDLE)
SUMS = f"{ROOT}/{CHECKSUMS}"
DESCRIBED = f"{ROOT}/{DESCRIPTION}"
NAMES = st.sampled_from(
    [*FILES, f"{ROOT}/../x", "/tmp/x", "x", f"{ROOT}/a/../../x", f"{ROOT}/", ""]  # noqa: S108  (never written)
)


def archive(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(written.getvalue(), 1)


def packed(files: dict[str, bytes]) -> bytes:
    """Pack files as a bundle is packed, with the checksums of their contents."""
    sums = (
        f"{hashlib.sha256(data).hexdigest()}  {name.removeprefix(ROOT + '/')}\n"
        for name, data in files.items()
        if name != SUMS
    )
    return archive({**files, SUMS: "".join(sums).encode("utf-8", "replace")})


def left_over(bundle: bytes) -> list[str]:
    """Unpack a bundle; return what is on the disk besides it, and messages that no one can read."""
    readers = Readers()
    with TemporaryDirectory() as name:
        path, output = Path(name, "bundle.tar.gz"), Path(name, "output", "bundle")
        path.write_bytes(bundle)
        found = readers.call(unpack, path, output)
        unpacked = [output.parent, output, *output.rglob("*")] if found else []
        on_disk = {*Path(name).rglob("*")}
        return [*map(str, on_disk ^ {path, *unpacked}), *readers.unreadable]


@given(changed_json(json.loads(FILES[DESCRIBED])))
def test_any_description(description: object) -> None:
    assert left_over(packed({**FILES, DESCRIBED: as_json(description)})) == []


@given(
    st.dictionaries(NAMES, st.binary(max_size=20), max_size=3), st.sets(st.sampled_from([*FILES]))
)
def test_any_members(added: dict[str, bytes], removed: set[str]) -> None:
    kept = {name: data for name, data in FILES.items() if name not in removed}
    assert left_over(packed({**kept, **added})) == []


@given(damaged_bytes(BUNDLE))
def test_any_bytes(bundle: bytes) -> None:
    assert left_over(bundle) == []


@given(damaged_bytes(FILES[SUMS]))
def test_any_checksums(sums: bytes) -> None:
    assert left_over(archive({**FILES, SUMS: sums})) == []
