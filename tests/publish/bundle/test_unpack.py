"""A bundle that was changed, cut off, or made to do harm is refused."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.bundle.finished import read_finished
from moe_eval_plugin.publish.bundle.pack import ROOT
from moe_eval_plugin.publish.bundle.unpack import unpack
from tests.publish.bundle.finished_sweeps import members, packed, rewrite, write_sweep
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A bundle of a sweep."""
    return packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz")


def with_sums(files: dict[str, bytes]) -> dict[str, bytes]:
    """Make the checksums agree again, as somebody who knows how would."""
    names = [name for name in files if not name.endswith("SHA256SUMS")]
    lines = [
        f"{hashlib.sha256(files[name]).hexdigest()}  {name.removeprefix(f'{ROOT}/')}\n"
        for name in names
    ]
    return {**files, f"{ROOT}/SHA256SUMS": "".join(lines).encode()}


def test_what_was_packed_comes_out_as_it_was(archive: Path, tmp_path: Path) -> None:
    bundle = unpack(archive, tmp_path / "out" / "bundle")
    for path in (tmp_path / "sweep").rglob("*.json*"):
        same = bundle.files / path.relative_to(tmp_path / "sweep")
        assert same.read_bytes() == path.read_bytes()
    assert bundle.description.of_sweep
    assert bundle.description.commands[0][:2] == ["moe-eval", "sweep"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bundle"]


def test_unpacking_again_replaces_what_was_there(archive: Path, tmp_path: Path) -> None:
    folder = unpack(archive, tmp_path / "bundle").folder
    (folder / "bundle.json").write_text("spoiled", "utf-8")
    assert unpack(archive, folder).description.of == "sweep"
    assert "spoiled" not in (folder / "bundle.json").read_text("utf-8")


def test_the_timed_passes_are_packed_and_read_from_the_bundle(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    one = timed_pass({"k8": around(1.0), "k2": around(0.5)})
    path = write_timed_pass(folder, one)
    bundle = unpack(packed(folder, tmp_path / "sweep.tar.gz"), tmp_path / "bundle")
    assert (bundle.files / "timing" / path.name).read_bytes() == path.read_bytes()
    assert read_finished(bundle.files).timed == (one,)


@pytest.mark.parametrize("number", range(10))
def test_a_change_to_any_file_is_seen(archive: Path, tmp_path: Path, number: int) -> None:
    files = members(archive)
    assert len(files) == 10
    name = sorted(files)[number]
    content = files[name]
    rewrite(archive, {**files, name: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]})
    said = "no readable SHA256SUMS|was changed|no checksum|missing"
    with pytest.raises(DataError, match=said):
        unpack(archive, tmp_path / "out" / "bundle")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", range(10))
def test_a_file_that_was_taken_out_is_missed(archive: Path, tmp_path: Path, number: int) -> None:
    files = members(archive)
    del files[sorted(files)[number]]
    rewrite(archive, files)
    with pytest.raises(DataError, match=r": missing|has no readable SHA256SUMS"):
        unpack(archive, tmp_path / "bundle")


def test_a_file_that_was_added_is_seen(archive: Path, tmp_path: Path) -> None:
    rewrite(archive, {**members(archive), f"{ROOT}/run/k1/more.json": b"{}"})
    with pytest.raises(DataError, match=r"run/k1/more.json: no checksum"):
        unpack(archive, tmp_path / "bundle")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_bundle_that_is_cut_off_is_refused(archive: Path, tmp_path: Path, share: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"is not a complete bundle|no readable SHA256SUMS"):
        unpack(archive, tmp_path / "out" / "bundle")
    assert not (tmp_path / "out").exists()


def test_any_single_byte_at_the_end_counts(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[:-1])
    with pytest.raises(DataError, match="is not a complete bundle"):
        unpack(archive, tmp_path / "bundle")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tar.gz"
    other.write_text("no archive", "utf-8")
    with pytest.raises(DataError, match=f"{other} is not a bundle. .*`moe-eval bundle`"):
        unpack(other, tmp_path / "bundle")


def test_a_path_that_is_no_file_is_refused_with_the_next_command(tmp_path: Path) -> None:
    absent = tmp_path / "absent.tar.gz"
    with pytest.raises(DataError, match=f"No such file: {absent}. .*`moe-eval bundle`"):
        unpack(absent, tmp_path / "bundle")
    with pytest.raises(DataError, match=f"is a folder, .*`moe-eval bundle {tmp_path}`"):
        unpack(tmp_path, tmp_path / "bundle")


def test_a_folder_that_cannot_be_written_to_is_named(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be unpacked into .*--output"):
        unpack(archive, tmp_path / "file" / "bundle")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/outside",
        "../outside",
        f"{ROOT}/../../outside",
        f"{ROOT}/run/../../outside",
        "elsewhere/file",
        ROOT,
        f"{ROOT}//file",
    ],
)
def test_a_name_that_leads_out_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    rewrite(archive, {**members(archive), name: b"harm"})
    with pytest.raises(DataError, match="has only plain files"):
        unpack(archive, tmp_path / "out" / "bundle")
    assert not [path for path in tmp_path.rglob("*") if path.name == "outside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(archive: Path, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo(f"{ROOT}/link")
    member.type, member.linkname = kind, "/etc/passwd"
    rewrite(archive, members(archive), member)
    with pytest.raises(DataError, match="has only plain files"):
        unpack(archive, tmp_path / "bundle")


def test_a_file_that_is_there_twice_is_refused(archive: Path, tmp_path: Path) -> None:
    rewrite(archive, members(archive), tarfile.TarInfo(f"{ROOT}/bundle.json"))
    with pytest.raises(DataError, match="each once"):
        unpack(archive, tmp_path / "bundle")


@pytest.mark.parametrize(
    "command",
    [
        ["lmms-eval", "--output_path", "{output}"],
        ["moe-eval", "lm-eval", "run", "--output_path", "{output}"],
        ["moe-eval", "sweep", "--host", "lm-eval", "--output", "{output}"],
    ],
)
def test_commands_of_each_host_are_read(
    archive: Path, tmp_path: Path, command: list[object]
) -> None:
    files = members(archive)
    about = json.loads(files[f"{ROOT}/bundle.json"])
    about["commands"] = [command]
    rewrite(archive, with_sums({**files, f"{ROOT}/bundle.json": json.dumps(about).encode()}))
    assert unpack(archive, tmp_path / "bundle").description.commands == [command]


@pytest.mark.parametrize(
    "command",
    [
        ["rm", "-rf", "{output}"],
        ["moe-eval", "data", "{output}"],
        ["moe-eval", "lm-eval", "ls", "{output}"],
        ["moe-eval", "sweep", "--host", "rm", "--output", "{output}"],
        ["moe-eval", "sweep", "--host", "{output}"],
        ["lm-eval", "run", "--output_path", "{output}"],
        ["moe-eval", "sweep", "--output", "elsewhere"],
        ["lmms-eval", "--output_path", "{output}", "--more", "{output}"],
        ["lmms-eval", "--output_path", "{output}", "--use_cache", "elsewhere"],
        [],
        [1, "{output}"],
    ],
)
def test_a_command_of_another_program_or_to_another_place_is_refused(
    archive: Path, tmp_path: Path, command: list[object]
) -> None:
    files = members(archive)
    about = json.loads(files[f"{ROOT}/bundle.json"])
    about["commands"] = [command]
    rewrite(archive, with_sums({**files, f"{ROOT}/bundle.json": json.dumps(about).encode()}))
    with pytest.raises(DataError, match="such a command is never run"):
        unpack(archive, tmp_path / "bundle")


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"schema_version": 9, "kind": "x"}'])
def test_a_description_of_another_form_is_refused(
    archive: Path, tmp_path: Path, content: str
) -> None:
    files = members(archive)
    rewrite(archive, with_sums({**files, f"{ROOT}/bundle.json": content.encode()}))
    with pytest.raises(DataError, match=r"is not in the format of `moe-eval bundle`|of version 9"):
        unpack(archive, tmp_path / "bundle")
